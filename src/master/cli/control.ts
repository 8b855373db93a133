import { request } from 'node:http';
import { parseAddresses } from '../../shared/addresses.js';
import { MoonringError, messageOf } from '../../shared/errors.js';

/** `moonring ctl`: what the operator wants of a running server. */
export type ControlOrder =
  | { readonly type: 'status' | 'reload' | 'drain' }
  | { readonly type: 'scale'; readonly processes: number };

/** The words after `ctl`. Throws ERR_MOONRING_USAGE. */
export function controlOrder(words: readonly string[]): ControlOrder {
  const [word, count, ...rest] = words;
  if (word === 'scale' && rest.length === 0 && /^[1-9]\d{0,3}$/.test(count ?? '')) {
    return { type: 'scale', processes: Number(count) };
  }
  const isWord = word === 'status' || word === 'reload' || word === 'drain';
  if (isWord && count === undefined) return { type: word };
  const sentence = 'ctl takes one of: status, reload, drain, scale <processes>';
  throw new MoonringError('ERR_MOONRING_USAGE', sentence);
}

/**
 * Asks the server whose admin socket `admin` names. What it says, to be printed. Throws
 * ERR_MOONRING_CONTROL if it refuses or does not answer.
 */
export async function askControl(order: ControlOrder, admin: string): Promise<string> {
  const addresses = parseAddresses(admin);
  const unix = addresses.ok ? addresses.value.find(({ type }) => type === 'unix') : undefined;
  if (unix?.type !== 'unix') {
    const sentence = 'ctl needs the admin socket of the server: --admin /path/to/socket';
    throw new MoonringError('ERR_MOONRING_USAGE', sentence);
  }
  const method = order.type === 'status' ? 'GET' : 'POST';
  const path = order.type === 'scale' ? `/scale?processes=${order.processes}` : `/${order.type}`;
  let answer: { status: number; text: string };
  try {
    answer = await ask(unix.path, method, path);
  } catch (cause) {
    const sentence = `no server answers at ${unix.path}: ${messageOf(cause)}`;
    throw new MoonringError('ERR_MOONRING_CONTROL', sentence, { cause });
  }
  if (answer.status >= 300) {
    const sentence = `${order.type} was refused: ${problemIn(answer.text)}`;
    throw new MoonringError('ERR_MOONRING_CONTROL', sentence);
  }
  return answer.text;
}

function ask(
  socketPath: string,
  method: string,
  path: string,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, method, path, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
      response.on('error', reject);
    });
    asked.on('error', reject);
    asked.end();
  });
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
