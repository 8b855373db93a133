import t from 'tap';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';

const KIB_COUNT = 10 * 1024;
const OTHERS = 200;

function expectedBody(): Buffer {
  const parts = Array.from({ length: KIB_COUNT }, (_, i) => {
    return `${String(i).padStart(15, '0')}\n`.repeat(64);
  });
  return Buffer.from(parts.join(''));
}

t.test(
  'a client that does not read delays no other and then gets the whole response',
  async (t) => {
    const server = await startServer(t, { app: 'large.lua' });
    const slow = await connectRaw(t, server);
    slow.socket.pause();
    await slow.send(requestText('/large') + requestText('/') + requestText('/large'));

    const quick = await connectRaw(t, server);
    for (let i = 0; i < OTHERS; i++) {
      const response = await quick.request(requestText('/'));
      if (response.body.toString() !== 'small') t.fail(response.head);
    }
    t.ok(slow.unread() < KIB_COUNT * 1024, 'meanwhile the large answer has not been read');

    slow.socket.resume();
    const expected = expectedBody();
    const first = await slow.next();
    t.equal(first.status, 200);
    t.ok(first.body.equals(expected), 'the first large answer is exact');
    t.equal((await slow.next()).body.toString(), 'small', 'what was pipelined behind it follows');
    const second = await slow.next();
    t.ok(second.body.equals(expected), 'the second large answer is exact');
    t.equal(slow.unread(), 0);
    t.strictSame(await server.stop(), { code: 0, signal: null });
  },
);
