import { setImmediate as nextTurn } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { connectRaw, type RawClient, requestText } from './raw-client.js';
import type { RawResponse } from './response-parser.js';
import { startServer } from './server.js';

/*
 * A client that is still sending when its request is refused must be able to read why: if the
 * server closed with unread bytes, the RST would discard the response (RFC 9112 §9.6).
 */

const MIB = 1024 * 1024;
const UPLOAD_MIB = 10;
/** The server waits half a second for more bytes before it closes. */
const PAUSE_MS = 400;
const TRIES = 10;

const server = await startServer(t, { args: ['--max-body', '4m'] });
const piece = Buffer.alloc(MIB, 'x');

/**
 * The response to `beginning`, which is followed by `pieces`. Tried again if the machine was so busy that a piece
 * took longer than the server waits.
 */
async function refusalOf(
  t: Test,
  beginning: string,
  pieces: readonly (string | Buffer)[],
): Promise<RawResponse> {
  for (let tries = 1; ; tries++) {
    const client = await connectRaw(t, server);
    let lastMs = performance.now();
    let slowestMs = 0;
    try {
      for (const each of [beginning, ...pieces]) {
        await client.send(each);
        await nextTurn(); // lets the response be read
        slowestMs = Math.max(slowestMs, performance.now() - lastMs);
        lastMs = performance.now();
      }
      return await lastResponse(client);
    } catch (error) {
      slowestMs = Math.max(slowestMs, performance.now() - lastMs);
      if (slowestMs < PAUSE_MS || tries === TRIES) throw error;
      t.comment(`a piece took ${slowestMs.toFixed(0)} ms:`, String(error));
    }
  }
}

async function lastResponse(client: RawClient): Promise<RawResponse> {
  const response = await client.next('POST');
  await client.ended();
  return response;
}

t.test('too much content by Content-Length', async (t) => {
  const headers = { 'Content-Length': String(UPLOAD_MIB * MIB) };
  const beginning = requestText('/echo', { method: 'POST', headers });
  const answer = await refusalOf(t, beginning, Array(UPLOAD_MIB).fill(piece));
  t.equal(answer.status, 413);
  t.equal(answer.headers.get('connection'), 'close');
});

t.test('too much content in chunks', async (t) => {
  const headers = { 'Transfer-Encoding': 'chunked' };
  const beginning = requestText('/echo', { method: 'POST', headers });
  const chunk = Buffer.concat([Buffer.from(`${MIB.toString(16)}\r\n`), piece, Buffer.from('\r\n')]);
  const chunks = Array<Buffer | string>(UPLOAD_MIB).fill(chunk);
  t.equal((await refusalOf(t, beginning, [...chunks, '0\r\n\r\n'])).status, 413);
});

t.test('bytes after a bad request are dropped', async (t) => {
  const beginning = 'GET  / HTTP/1.1\r\nHost: a\r\n\r\n';
  t.equal((await refusalOf(t, beginning, Array(UPLOAD_MIB).fill(piece))).status, 400);
});

t.test('an expectation is rejected before the content is sent', async (t) => {
  const client = await connectRaw(t, server);
  const headers = { 'Content-Length': String(UPLOAD_MIB * MIB), Expect: '100-continue' };
  const answer = await client.request(requestText('/echo', { method: 'POST', headers }), 'POST');
  t.equal(answer.status, 413, 'without an interim answer first');
  await client.ended();
});
