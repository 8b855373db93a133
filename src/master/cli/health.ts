import { type Address, ANY_HOST, formatAddress } from '../../shared/addresses.js';
import { messageOf } from '../../shared/errors.js';
import type { Config } from '../../shared/options.js';
import { ask } from './ask.js';

/**
 * `moonring health`: asks the server with this configuration whether it can serve. For container
 * engines and scripts without curl.
 */

const TIMEOUT_MS = 3000;

export interface HealthQuestion {
  readonly where: string;
  readonly target:
    | { readonly host: string; readonly port: number }
    | { readonly socketPath: string };
  readonly path: string;
  /** True for a status that says "I can serve". */
  readonly isHealthy: (status: number) => boolean;
}

/**
 * /readyz of the admin listener, which is 503 while the server starts and drains; without an admin
 * listener the server itself, where any response of the application counts as healthy except a
 * server error. `null` if there is no address.
 */
export function healthQuestion({
  admin,
  host,
  port,
  uds,
}: Pick<Config, 'admin' | 'host' | 'port' | 'uds'>): HealthQuestion | null {
  const [adminAddress] = admin;
  if (adminAddress !== undefined) {
    return question(adminAddress, '/readyz', (status) => status === 200);
  }
  const [firstHost = ANY_HOST] = host;
  const address: Address | null =
    port !== 'off'
      ? { type: 'tcp', host: firstHost, port }
      : uds === null
        ? null
        : { type: 'unix', path: uds };
  return address && question(address, '/', (status) => status < 500);
}

function question(
  address: Address,
  path: string,
  isHealthy: HealthQuestion['isHealthy'],
): HealthQuestion | null {
  const where = formatAddress(address);
  if (address.type === 'unix') {
    return { where, target: { socketPath: address.path }, path, isHealthy };
  }
  // A port chosen by the system is not known here.
  if (address.port === 0) return null;
  const target = { host: reachable(address.host), port: address.port };
  return { where, target, path, isHealthy };
}

/** The result as a message for the operator. */
export async function askHealth(
  question: HealthQuestion | null,
  timeoutMs = TIMEOUT_MS,
): Promise<{ readonly healthy: boolean; readonly message: string }> {
  if (question === null) {
    return {
      healthy: false,
      message: 'no address to check: there is no admin listener, and the port is not fixed',
    };
  }
  const name = `${question.where}${question.path}`;
  try {
    const headers = { Host: 'localhost', Connection: 'close' };
    const { target, path } = question;
    const { status } = await ask({ ...target, path, headers }, timeoutMs);
    return { healthy: question.isHealthy(status), message: `${name} responded with ${status}` };
  } catch (error) {
    return { healthy: false, message: `no response from ${name}: ${messageOf(error)}` };
  }
}

/** A server that listens on all addresses is queried over loopback. */
export function reachable(host: string): string {
  if (host === ANY_HOST || host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}
