import { fork } from 'node:child_process';
import { join } from 'node:path';
import { MoonringError, messageOf } from '../../shared/errors.js';
import { type CheckOrder, decodeCheckVerdict } from '../../shared/messages.js';

/** More than any handler needs that does not wait for something. */
const TIMEOUT_MS = 5000;

/**
 * Loads the app in a process of its own, so that a handler which ends the process, or never
 * returns, is only an error here. Rejects with ERR_MOONRING_HANDLER, or with ERR_MOONRING_PROTOCOL
 * if the checker is of another version.
 */
export function checkHandler(
  packageRoot: string,
  order: CheckOrder,
  timeoutMs = TIMEOUT_MS,
): Promise<void> {
  const child = fork(join(packageRoot, 'dist', 'checker.js'), [JSON.stringify(order)], {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    execArgv: [],
  });
  const { path } = order.app;
  const end = () => child.kill('SIGKILL');
  process.once('exit', end);
  return new Promise((resolve, reject) => {
    /** Without a verdict the process ended on its own. */
    let verdict: MoonringError | 'fine' | null = null;
    const fail = (message: string) => {
      verdict ??= new MoonringError('ERR_MOONRING_HANDLER', message);
    };
    const late = setTimeout(() => {
      fail(`${path} did not finish loading within ${timeoutMs / 1000} s`);
      end();
    }, timeoutMs);
    child.on('message', (value: unknown) => {
      try {
        const { problem } = decodeCheckVerdict(value);
        if (problem === null) verdict ??= 'fine';
        else fail(problem);
      } catch (cause) {
        const message = `the checker is of another version (${messageOf(cause)}): build and restart`;
        verdict ??= new MoonringError('ERR_MOONRING_PROTOCOL', message, { cause });
        end();
      }
    });
    child.on('error', (error) => fail(`the handler could not be checked: ${error.message}`));
    child.on('close', (code, signal) => {
      clearTimeout(late);
      process.off('exit', end);
      fail(`${path} ended the process that loaded it (${signal ?? `exit code ${code}`})`);
      if (verdict === 'fine') resolve();
      else reject(verdict);
    });
  });
}
