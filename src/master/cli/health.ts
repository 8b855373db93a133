import { request } from 'node:http';
import { messageOf } from '../../shared/errors.js';

/**
 * `moonring health`: asks a running server, as its configuration describes it, whether it can
 * serve. For container engines and scripts, where no curl is at hand.
 */

const TIMEOUT_MS = 3000;

/** The part of the configuration that says where the server can be asked. */
export interface HealthSettings {
  /** `host:port`, `[v6]:port`, the path of a Unix socket, both with a comma, or `off`. */
  readonly admin: string;
  readonly host: string;
  /** `off`: no TCP listener. */
  readonly port: number | 'off';
  /** Path of the Unix socket, if there is one. */
  readonly uds: string | null;
}

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
 * What to ask: the admin listener's /readyz, which is 503 while the server starts and drains;
 * without an admin listener the server itself, where any answer of the application will do except a
 * server error. `null` if there is no address to ask.
 */
export function healthQuestion({ admin, host, port, uds }: HealthSettings): HealthQuestion | null {
  if (admin !== 'off') {
    // Of two addresses either will do.
    const [where = admin] = admin.split(',');
    const target = where.includes('/') ? { socketPath: where } : hostAndPort(where);
    return target && { where, target, path: '/readyz', isHealthy: (code) => code === 200 };
  }
  const isHealthy = (code: number) => code < 500;
  if (port !== 'off' && port !== 0) {
    const target = { host: reachable(host), port };
    return { where: `${host}:${port}`, target, path: '/', isHealthy };
  }
  if (uds === null) return null;
  return { where: uds, target: { socketPath: uds }, path: '/', isHealthy };
}

/** One sentence for the operator, and whether it is a good one. */
export async function askHealth(
  question: HealthQuestion | null,
  timeoutMs = TIMEOUT_MS,
): Promise<{ readonly healthy: boolean; readonly sentence: string }> {
  if (question === null) {
    return {
      healthy: false,
      sentence: 'nothing to ask: no admin listener, and the port is not a fixed one',
    };
  }
  const name = `${question.where}${question.path}`;
  try {
    const status = await statusOf(question, timeoutMs);
    return { healthy: question.isHealthy(status), sentence: `${name} answered ${status}` };
  } catch (error) {
    return { healthy: false, sentence: `${name} did not answer: ${messageOf(error)}` };
  }
}

function statusOf({ target, path }: HealthQuestion, timeoutMs: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { Host: 'localhost', Connection: 'close' };
    const signal = AbortSignal.timeout(timeoutMs);
    const asked = request({ ...target, path, headers, signal, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    asked.on('error', (error) =>
      reject(signal.aborted ? new Error(`silent for ${timeoutMs} ms`) : error),
    );
    asked.end();
  });
}

function hostAndPort(text: string): { host: string; port: number } | null {
  const match = /^(?:\[(.*)\]|([^:]*)):(\d+)$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port === 0) return null;
  return { host: reachable(match[1] ?? match[2] ?? ''), port };
}

/** A server that listens everywhere is asked over loopback. */
function reachable(host: string): string {
  if (host === '' || host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}
