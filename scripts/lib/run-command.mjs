import { spawn } from 'node:child_process';

import { say } from './progress.mjs';
import { root } from './root.mjs';
import { SetupError } from './setup-error.mjs';

/** For output that arrives after the exit. */
const outputGraceMs = 2000;

/**
 * Runs a command in the source tree, without a shell and without standard input. Never rejects: a
 * command that cannot be started has code 127.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {{ env?: Record<string, string | undefined>, timeoutMs?: number }} [options] `env` is added
 *   to this process's environment; a command that takes longer is killed
 * @returns {Promise<{ code: number, stdout: string, output: string }>} `output` is stdout and
 *   stderr in the order in which they arrived
 */
export function capture(command, args, { env = {}, timeoutMs = 0 } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
    });
    let stdout = '';
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      stdout += text;
      output += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
    child.on('error', (error) =>
      resolve({ code: 127, stdout, output: `${output}${error.message}\n` }),
    );
    const finish = (code, signal) => {
      if (signal) output += `${command} ended by ${signal}\n`;
      child.stdout.destroy();
      child.stderr.destroy();
      resolve({ code: code ?? 1, stdout, output });
    };
    // A grandchild that outlives the command may hold its pipes open.
    child.on('exit', (code, signal) => setTimeout(finish, outputGraceMs, code, signal).unref());
    child.on('close', finish);
  });
}

/** Like capture, but a failure is a SetupError with the command's output. */
export async function must(command, args, options) {
  const result = await capture(command, args, options);
  if (result.code !== 0) throw new SetupError(failure(command, args, result));
  return result;
}

/** For commands that use the network: a failure is retried once. */
export async function mustWithRetry(command, args, options) {
  const first = await capture(command, args, options);
  if (first.code === 0) return first;
  const line = [command, ...args].join(' ');
  say(`"${line}" failed (code ${first.code}); it uses the network, so it is tried once more.`);
  return must(command, args, options);
}

function failure(command, args, { code, output }) {
  return `"${[command, ...args].join(' ')}" failed with code ${code}:\n${output.trimEnd()}`;
}
