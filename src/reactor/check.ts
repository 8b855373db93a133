import { messageOf } from '../shared/errors.js';
import { CHECKER_APPS_FD, type CheckVerdict, decodeCheckOrder } from '../shared/messages.js';
import { loadNative } from '../shared/native.js';
import { packageRoot } from '../shared/package-info.js';

/**
 * Loads a handler once and sends the parent the result. In a separate process, so that a handler
 * which exits or never returns does no harm.
 */
export async function runHandlerCheck(order: string): Promise<0 | 1> {
  await tell(check(order));
  return 0;
}

/** Longer than the master waits: it ends us earlier, unless it is gone. */
const ALARM_S = 30;

function check(order: string): CheckVerdict {
  try {
    const { app, luaRoot, shared } = decodeCheckOrder(JSON.parse(order));
    const native = loadNative(packageRoot, process.env['MOONRING_ADDON']);
    native.alarm(ALARM_S);
    const { problem, appFd, isWhole } = native.acceptHandler(app, luaRoot, shared);
    const isKept = appFd >= 0;
    if (isKept) native.sendDescriptor(CHECKER_APPS_FD, appFd);
    return { problem, isKept, isWhole };
  } catch (error) {
    return { problem: messageOf(error), isKept: false, isWhole: true };
  }
}

function tell(verdict: CheckVerdict): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined) resolve();
    else process.send(verdict, undefined, undefined, () => resolve());
  });
}
