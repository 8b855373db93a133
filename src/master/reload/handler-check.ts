import { fork } from 'node:child_process';
import { join } from 'node:path';
import { MoonringError, messageOf } from '../../shared/errors.js';
import { type CheckOrder, decodeCheckVerdict } from '../../shared/messages.js';
import type { AcceptedHandler, NativeAddon } from '../../shared/native.js';

/** More than any handler needs that does not wait for something. */
const TIMEOUT_MS = 5000;

/** What the checker has loaded. */
export type Accepted = Omit<AcceptedHandler, 'problem'>;

/**
 * Loads the app in a process of its own, which keeps its files as they were then, and so that a handler which ends the process, or never
 * returns, is only an error here. Rejects with ERR_MOONRING_HANDLER, or with ERR_MOONRING_PROTOCOL
 * if the checker is of another version.
 */
export function checkHandler(
  native: Pick<NativeAddon, 'socketPair' | 'receiveDescriptor' | 'closeDescriptor'>,
  packageRoot: string,
  order: CheckOrder,
  timeoutMs = TIMEOUT_MS,
): Promise<Accepted> {
  const [pair, pairInChild] = native.socketPair();
  const child = fork(join(packageRoot, 'dist', 'checker.js'), [JSON.stringify(order)], {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc', pairInChild],
    execArgv: [],
  });
  native.closeDescriptor(pairInChild);
  const { path } = order.app;
  const end = () => child.kill('SIGKILL');
  process.once('exit', end);
  return new Promise((resolve, reject) => {
    /** Without a verdict the process ended on its own. */
    let verdict: MoonringError | Accepted | null = null;
    const fail = (message: string) => {
      verdict ??= new MoonringError('ERR_MOONRING_HANDLER', message);
    };
    const late = setTimeout(() => {
      fail(`${path} did not finish loading within ${timeoutMs / 1000} s`);
      end();
    }, timeoutMs);
    child.on('message', (value: unknown) => {
      try {
        const { problem, isKept, isWhole } = decodeCheckVerdict(value);
        const appFd = isKept ? native.receiveDescriptor(pair) : -1;
        if (problem === null) verdict ??= { appFd, isWhole };
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
      native.closeDescriptor(pair);
      fail(`${path} ended the process that loaded it (${signal ?? `exit code ${code}`})`);
      if (verdict === null || verdict instanceof MoonringError) reject(verdict);
      else resolve(verdict);
    });
  });
}
