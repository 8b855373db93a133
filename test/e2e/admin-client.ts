import { request } from 'node:http';
import type { Status } from '../../src/master/admin/status.js';
import type { Server } from './server.js';

/** Sends requests to the admin listener, as an operator's tools would. */
export async function statusOf(server: Server): Promise<Status> {
  const answer = await fetch(`${server.admin}/status`);
  return (await answer.json()) as Status;
}

export async function codeOf(server: Server, path: string): Promise<number> {
  const answer = await fetch(`${server.admin}${path}`);
  await answer.text();
  return answer.status;
}

/** All samples by name and labels, as printed. */
export async function metricsOf(server: Server): Promise<Map<string, number>> {
  const answer = await fetch(`${server.admin}/metrics`);
  const lines = (await answer.text()).split('\n').filter((line) => /^[a-z]/.test(line));
  return new Map(
    lines.map((line) => {
      const space = line.lastIndexOf(' ');
      return [line.slice(0, space), Number(line.slice(space + 1))];
    }),
  );
}

/** One request over a Unix socket. */
export function getOverSocket(socketPath: string, path: string, method = 'GET') {
  return new Promise<{ status: number; text: string }>((resolve, reject) => {
    const asked = request({ socketPath, path, method, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    asked.on('error', reject);
    asked.end();
  });
}
