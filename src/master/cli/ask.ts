import { type RequestOptions, request } from 'node:http';
import { formatDuration } from '../../shared/units.js';

export interface Response {
  readonly status: number;
  readonly text: string;
}

/**
 * A request to a running server. Rejects with an Error; on a timeout, `late` adds what that means.
 * 0 ms: no limit.
 */
export function ask(options: RequestOptions, timeoutMs: number, late = ''): Promise<Response> {
  return new Promise((resolve, reject) => {
    const sent = request({ ...options, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
      response.on('error', reject);
    });
    const end = () => sent.destroy(new Error(`none within ${formatDuration(timeoutMs)}${late}`));
    const timer = timeoutMs > 0 ? setTimeout(end, timeoutMs) : undefined;
    sent.on('error', reject).on('close', () => clearTimeout(timer));
    sent.end();
  });
}
