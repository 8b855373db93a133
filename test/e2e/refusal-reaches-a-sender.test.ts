import t from 'tap';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';

/*
 * A client that is still sending when its request is refused must be able to read why: if the
 * server closed with unread bytes, the RST would discard the response (RFC 9112 §9.6).
 */

const MIB = 1024 * 1024;
const UPLOAD_MIB = 10;

const server = await startServer(t, { args: ['--max-body', '4m'] });
const piece = Buffer.alloc(MIB, 'x');

t.test('too much content by Content-Length', async (t) => {
  const client = await connectRaw(t, server);
  const headers = { 'Content-Length': String(UPLOAD_MIB * MIB) };
  await client.send(requestText('/echo', { method: 'POST', headers }));
  await client.send(...Array.from({ length: UPLOAD_MIB }, () => piece));
  const answer = await client.next('POST');
  t.equal(answer.status, 413);
  t.equal(answer.headers.get('connection'), 'close');
  await client.ended();
});

t.test('too much content in chunks', async (t) => {
  const client = await connectRaw(t, server);
  const headers = { 'Transfer-Encoding': 'chunked' };
  await client.send(requestText('/echo', { method: 'POST', headers }));
  const chunk = Buffer.concat([Buffer.from(`${MIB.toString(16)}\r\n`), piece, Buffer.from('\r\n')]);
  await client.send(...Array.from({ length: UPLOAD_MIB }, () => chunk));
  await client.send('0\r\n\r\n');
  const answer = await client.next('POST');
  t.equal(answer.status, 413);
  await client.ended();
});

t.test('bytes after a bad request are dropped', async (t) => {
  const client = await connectRaw(t, server);
  await client.send('GET  / HTTP/1.1\r\nHost: a\r\n\r\n');
  await client.send(...Array.from({ length: UPLOAD_MIB }, () => piece));
  t.equal((await client.next()).status, 400);
  await client.ended();
});

t.test('an expectation is rejected before the content is sent', async (t) => {
  const client = await connectRaw(t, server);
  const headers = { 'Content-Length': String(UPLOAD_MIB * MIB), Expect: '100-continue' };
  const answer = await client.request(requestText('/echo', { method: 'POST', headers }), 'POST');
  t.equal(answer.status, 413, 'without an interim answer first');
  await client.ended();
});
