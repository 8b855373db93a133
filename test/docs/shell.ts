import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { cleanEnvironment } from '../e2e/server.js';
import { until } from '../e2e/until.js';

const COMMAND_TIMEOUT_MS = 300_000;
const MARK = '--the command has ended--';

export interface Ended {
  readonly code: number;
  readonly output: string;
  /** Status codes of the responses that curl received, in order. */
  readonly statuses: readonly number[];
}

/** The terminal for all commands except servers: one bash process that keeps its state. */
export interface Shell {
  readonly run: (command: string) => Promise<Ended>;
}

/** @param scratch a directory for the shell's temporary files; it is started in `cwd` */
export function openShell(
  t: Test,
  { cwd, scratch, env }: { cwd: string; scratch: string; env: NodeJS.ProcessEnv },
): Shell {
  const notes = join(scratch, 'statuses');
  const child = spawn('bash', ['--noprofile', '--norc'], {
    cwd,
    env: { ...cleanEnvironment(), ...env },
  });
  t.teardown(async () => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk.replaceAll('\r', '');
  });
  child.stdin.on('error', () => {});
  // The output of curl stays as it is; the status goes elsewhere.
  const note = `--write-out '%{stderr}%{http_code}\\n' 2>>'${notes}'`;
  child.stdin.write(`exec 2>&1\ncurl() { command curl --no-progress-meter "$@" ${note}; }\n`);

  return {
    run: async (command) => {
      writeFileSync(notes, '');
      const start = text.length;
      child.stdin.write(`{ ${command}\n} </dev/null\necho "${MARK}$?"\n`);
      const end = new RegExp(`${MARK}(\\d+)\\n`);
      const mark = await until(
        `the end of "${command}"`,
        () => {
          if (child.exitCode !== null) throw new Error(`"${command}" ended the shell:\n${text}`);
          return end.exec(text.slice(start)) ?? undefined;
        },
        COMMAND_TIMEOUT_MS,
      );
      const noted = readFileSync(notes, 'utf8');
      return {
        code: Number(mark[1]),
        output: text.slice(start, start + mark.index),
        statuses: [...noted.matchAll(/^\d{3}$/gm)].map(Number),
      };
    },
  };
}
