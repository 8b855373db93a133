import { createServer } from 'node:http';
import type { Test } from 'tap';
import { listenLocally } from './listening.js';

export interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly status: { readonly code: number };
  readonly attributes: readonly { readonly key: string; readonly value: object }[];
}

/** The attributes of a span, by name. */
export function attributesOf({ attributes }: Span): Readonly<Record<string, unknown>> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}

/** Accepts OTLP/HTTP in JSON. */
export async function openCollector(t: Test) {
  const spans: Span[] = [];
  let status = 200;
  let released = Promise.resolve();
  const server = createServer((request, response) => {
    let text = '';
    request.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    request.on('end', async () => {
      await released;
      t.equal(request.url, '/v1/traces');
      const { resourceSpans } = JSON.parse(text);
      if (status === 200) spans.push(...resourceSpans[0].scopeSpans[0].spans);
      response.writeHead(status, { 'Content-Type': 'application/json' }).end('{}');
    });
  });
  t.teardown(() => server.close().closeAllConnections());
  const port = await listenLocally(server);
  const refuse = () => (status = 400);
  /** Sends no response until `release` is called. */
  const hold = () => {
    let release = () => {};
    released = new Promise((resolve) => {
      release = resolve;
    });
    return { release: () => release() };
  };
  return { spans, url: `http://127.0.0.1:${port}`, refuse, hold };
}
