/*
 * Preloaded into a benchmark: every program is found and nothing is built, and the process exits
 * with 42 where it would start its first server, load generator or other benchmark. It gets there
 * only if it has understood its arguments.
 */
import childProcess from 'node:child_process';
import { syncBuiltinESMExports } from 'node:module';

childProcess.spawnSync = (command) => {
  if (command === process.execPath) process.exit(42);
  return { status: 0, stdout: '', stderr: '' };
};
childProcess.execFileSync = () => '';
childProcess.spawn = () => process.exit(42);
syncBuiltinESMExports();
