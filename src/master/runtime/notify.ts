import type { Logger } from '../../shared/logger.js';
import type { NativeAddon } from '../../shared/native.js';

/** Notifies a service manager of the state; does nothing without one. */
export function makeNotifier(
  native: Pick<NativeAddon, 'notify'>,
  path: string | undefined,
  log: Logger,
): (text: string) => void {
  let last = '';
  return (text) => {
    if (path === undefined || path === '' || text === last) return;
    last = text;
    try {
      native.notify(path, text);
    } catch (error) {
      log('warn', { err: error, text }, 'the service manager could not be notified');
    }
  };
}
