import { fork } from 'node:child_process';
import { join } from 'node:path';
import { type CheckOrder, decodeCheckVerdict } from '../../shared/messages.js';

/** More than any handler needs that does not wait for something. */
const TIMEOUT_MS = 5000;

/**
 * Loads the app in a process of its own. What is wrong with it, `null` if nothing: also a handler
 * that ends the process or does not come back is only a sentence here.
 */
export function checkHandler(
  packageRoot: string,
  order: CheckOrder,
  timeoutMs = TIMEOUT_MS,
): Promise<string | null> {
  const child = fork(join(packageRoot, 'dist', 'checker.js'), [JSON.stringify(order)], {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    execArgv: [],
  });
  const { path } = order.app;
  const end = () => child.kill('SIGKILL');
  process.once('exit', end);
  return new Promise((resolve) => {
    const ended = `${path} ended the process that loaded it`;
    let problem: string | null = ended;
    const late = setTimeout(() => {
      problem = `${path} did not finish loading within ${timeoutMs / 1000} s`;
      end();
    }, timeoutMs);
    child.on('message', (value: unknown) => {
      ({ problem } = decodeCheckVerdict(value));
    });
    child.on('error', (error) => {
      problem = `the handler could not be checked: ${error.message}`;
    });
    child.on('close', (code, signal) => {
      clearTimeout(late);
      process.off('exit', end);
      resolve(problem === ended ? `${ended} (${signal ?? `exit code ${code}`})` : problem);
    });
  });
}
