import { messageOf } from '../../shared/errors.js';
import type { Logger } from '../../shared/logger.js';
import type { NativeAddon } from '../../shared/native.js';

/** Tells a service manager how far we are; without one, or when it has gone, nobody minds. */
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
      log('warn', { error: messageOf(error), text }, 'the service manager could not be told');
    }
  };
}
