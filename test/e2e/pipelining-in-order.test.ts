import t, { type Test } from 'tap';
import { connectRaw, type RawClient, requestText } from './raw-client.js';
import { startServer } from './server.js';

const COUNT = 1000;

const server = await startServer(t, { app: 'target.lua' });
const targets = Array.from({ length: COUNT }, (_, i) => `/${i}`);
const requests = targets.map((target) => requestText(target)).join('');

async function expectTargets(t: Test, client: RawClient, expected: readonly string[]) {
  const answered: string[] = [];
  for (const _ of expected) {
    const response = await client.next();
    answered.push(response.status === 200 ? response.body.toString() : response.head);
  }
  t.strictSame(answered, expected);
  t.equal(client.unread(), 0, 'nothing more is answered');
}

t.test('1000 requests in one write', async (t) => {
  const client = await connectRaw(t, server);
  await client.send(requests);
  await expectTargets(t, client, targets);
});

t.test('1000 requests byte by byte', async (t) => {
  const client = await connectRaw(t, server);
  const sent = client.send(...Array.from(Buffer.from(requests), (byte) => Buffer.of(byte)));
  await expectTargets(t, client, targets);
  await sent;
});

t.test('three requests split at every byte', async (t) => {
  const body = 'x=1';
  const headers = { 'Content-Length': String(body.length) };
  const text =
    requestText('/first') +
    requestText('/second', { method: 'POST', headers }) +
    body +
    requestText('/third');
  const expected = ['/first', '/second', '/third'];
  const other = await connectRaw(t, server);
  const wrong: string[] = [];
  for (let cut = 1; cut < text.length; cut++) {
    const client = await connectRaw(t, server);
    await client.send(text.slice(0, cut));
    // The only reactor reads sockets in order: after this response, it has read the
    // first piece.
    await other.request(requestText('/other'));
    await client.send(text.slice(cut));
    for (const target of expected) {
      const response = await client.next();
      if (response.body.toString() !== target) wrong.push(`cut at ${cut}: ${response.head}`);
    }
    client.socket.destroy();
  }
  t.strictSame(wrong, []);
});
