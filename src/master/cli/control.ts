import type { Address } from '../../shared/addresses.js';
import { MoonringError, messageOf } from '../../shared/errors.js';
import { ask, type Response } from './ask.js';

/** `moonring ctl`: sends a command to a running server. */
export type ControlOrder =
  | { readonly type: 'status' | 'reload' | 'drain' }
  | { readonly type: 'scale'; readonly processes: number };

export const ORDERS = [
  'status',
  'reload',
  'drain',
  'scale',
] as const satisfies readonly ControlOrder['type'][];

/** A reload is reported when it has finished, which takes at most a few seconds per reactor. */
export const CONTROL_TIMEOUT_MS = 60_000;

const LATE = '; the command may still be executed';

export interface ControlRequest {
  readonly order: ControlOrder;
  /** The admin addresses of the server. */
  readonly admin: readonly Address[];
  /** 0: no limit. */
  readonly timeoutMs: number;
}

/**
 * Sends the order and resolves with the body of the response. Throws ERR_MOONRING_USAGE without the
 * path of a socket, and ERR_MOONRING_CONTROL if the server refuses or does not respond.
 */
export async function sendOrder({ order, admin, timeoutMs }: ControlRequest): Promise<string> {
  const unix = admin.find((address) => address.type === 'unix');
  if (unix === undefined) {
    const message = 'ctl needs the admin socket of the server: --admin /path/to/socket';
    throw new MoonringError('ERR_MOONRING_USAGE', message);
  }
  const method = order.type === 'status' ? 'GET' : 'POST';
  const path = order.type === 'scale' ? `/scale?processes=${order.processes}` : `/${order.type}`;
  let response: Response;
  try {
    response = await ask({ socketPath: unix.path, method, path }, timeoutMs, LATE);
  } catch (cause) {
    const message = `no response from a server at ${unix.path}: ${messageOf(cause)}`;
    throw new MoonringError('ERR_MOONRING_CONTROL', message, { cause });
  }
  if (response.status >= 300) {
    const message = `${order.type} was refused: ${problemIn(response.text)}`;
    throw new MoonringError('ERR_MOONRING_CONTROL', message);
  }
  return response.text;
}

function problemIn(text: string): string {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && 'problem' in value) {
      return String(value.problem);
    }
  } catch {}
  return text.trim();
}
