import cluster from 'node:cluster';
import { messageOf } from '../shared/errors.js';
import { decodeToReactor, type ToMaster, type ToReactor } from '../shared/messages.js';

export interface ChannelEvents {
  readonly onMessage: (message: ToReactor) => void;
  readonly onUnreadable: (problem: string) => void;
  readonly onDisconnect: () => void;
}

export interface Channel {
  /** Resolves when the message has left this process, or cannot leave it any more. */
  send(message: ToMaster): Promise<void>;
}

/** The IPC channel to the master. */
export function openChannel(events: ChannelEvents): Channel {
  // Otherwise node:cluster ends the process at once when the master is gone, in the middle of
  // answers.
  if (cluster.worker !== undefined) cluster.worker.exitedAfterDisconnect = true;
  process.on('message', (value: unknown) => {
    let message: ToReactor;
    try {
      message = decodeToReactor(value);
    } catch (error) {
      events.onUnreadable(messageOf(error));
      return;
    }
    events.onMessage(message);
  });
  process.on('disconnect', events.onDisconnect);
  return { send };
}

function send(message: ToMaster): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) {
      resolve();
      return;
    }
    process.send(message, undefined, undefined, () => resolve());
  });
}
