/*
 * Preloaded into a benchmark: programs are looked for and helpers built in appearance only, and
 * where it would start its first server or load generator it ends with 42. So far it comes only if
 * it has understood its arguments.
 */
import childProcess from 'node:child_process';
import { syncBuiltinESMExports } from 'node:module';

childProcess.spawnSync = () => ({ status: 0, stdout: '', stderr: '' });
childProcess.execFileSync = () => '';
childProcess.spawn = () => process.exit(42);
syncBuiltinESMExports();
