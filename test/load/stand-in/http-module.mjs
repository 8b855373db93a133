import { Agent, request } from 'node:http';

import { sample } from './metrics.mjs';

const agent = new Agent({ keepAlive: true, scheduling: 'fifo' });

const http = { asyncRequest };

// k6's module has a default export, so this one has one too.
export { http as default };

async function asyncRequest(method, url, body, { headers = {}, tags = {}, timeout = '60s' } = {}) {
  const startedAt = performance.now();
  const answer = await send({
    method,
    url,
    body,
    headers,
    timeoutMs: Number.parseInt(timeout, 10) * 1e3,
  });
  sample('http_reqs', 'counter', 1, tags);
  sample('http_req_duration', 'trend', performance.now() - startedAt, tags);
  const expected = answer.status >= 200 && answer.status < 400;
  sample('http_req_failed', 'rate', Number(!expected), tags);
  return answer;
}

/**
 * Never rejects: no response is status 0, as in k6. A request on a kept connection that the server
 * has closed is sent once more, as k6's HTTP client does.
 */
async function send(options, retries = 1) {
  return new Promise((resolve) => {
    const { method, url, body, headers, timeoutMs } = options;
    const signal = AbortSignal.timeout(timeoutMs);
    const asked = request(url, { method, headers, agent, signal });
    asked.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode, body: text }));
      response.on('error', (error) => resolve({ status: 0, body: null, error: error.message }));
    });
    asked.on('error', (error) => {
      if (asked.reusedSocket && error.code === 'ECONNRESET' && retries > 0) {
        resolve(send(options, retries - 1));
      } else {
        process.stderr.write(`${method} ${url}: ${error.message}\n`);
        resolve({ status: 0, body: null, error: error.message });
      }
    });
    asked.end(body ?? undefined);
  });
}
