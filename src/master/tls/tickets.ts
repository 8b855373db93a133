import { randomBytes } from 'node:crypto';

/**
 * The keys of session tickets: first the current one, for new tickets; the previous one, whose
 * tickets are still accepted; and the next one, so that a reactor that gets new keys slightly
 * earlier issues no ticket unknown to others. Pure except for the random bytes.
 */
export type TicketKeys = readonly [current: Buffer, previous: Buffer, next: Buffer];

/** Name, key of the MAC and key of the cipher: HS_TLS_TICKET_KEY_BYTES. */
const KEY_BYTES = 80;
/** A session lives as long: HS_TLS_SESSION_S. */
export const ROTATION_MS = 8 * 3600 * 1000;

export function firstTicketKeys(): TicketKeys {
  return [makeKey(), makeKey(), makeKey()];
}

export function nextTicketKeys([current, , next]: TicketKeys): TicketKeys {
  return [next, current, makeKey()];
}

function makeKey(): Buffer {
  return randomBytes(KEY_BYTES);
}
