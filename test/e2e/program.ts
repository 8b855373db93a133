import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { collectOutput, type ServerOutput } from './server-output.js';
import { until } from './until.js';

/** Another server: redis-server, postgres, memcached, pgbouncer. */
export interface Program {
  readonly child: ChildProcess;
  readonly output: ServerOutput;
  /** Resolves when the process has exited. */
  readonly ended: Promise<unknown>;
}

/** How it exited and its last output, for failure reports. */
export function lastWordsOf({ child, output }: Program): string {
  const lines = output.text().trimEnd().split('\n').slice(-10);
  return `ended with ${child.exitCode ?? child.signalCode}:\n${lines.join('\n')}`;
}

/** Starts it and waits until `isReady`. Rejects with its output if it exits first, or never is. */
export async function startProgram(
  name: string,
  args: readonly string[],
  isReady: (output: ServerOutput) => boolean | Promise<boolean>,
  options: Pick<SpawnOptions, 'uid' | 'gid'> = {},
): Promise<Program> {
  const child = spawn(name, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  const output = collectOutput(child);
  const ended = once(child, 'exit');
  const program = { child, output, ended };
  try {
    const early = ended.then(() => Promise.reject(new Error('it has ended')));
    await Promise.race([early, until('it is ready', () => isReady(output))]);
  } catch (cause) {
    child.kill('SIGKILL');
    throw new Error(`${name} did not start, ${lastWordsOf(program)}`, { cause });
  }
  return program;
}
