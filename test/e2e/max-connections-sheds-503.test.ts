import t from 'tap';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';
import { until } from './until.js';

/*
 * A client beyond --max-connections gets 503 at once, before it sends a request, and does not
 * delay the clients that are served.
 */

const LIMIT = 8;
const BEYOND = 40;

t.test('the connection over the limit gets 503 and is closed', async (t) => {
  const server = await startServer(t, { args: ['--max-connections', String(LIMIT)] });
  const served = await Promise.all(Array.from({ length: LIMIT }, () => connectRaw(t, server)));
  for (const client of served) {
    t.equal((await client.request(requestText('/'))).status, 200);
  }

  for (let i = 0; i < BEYOND; i++) {
    const refused = await connectRaw(t, server);
    const answer = await refused.next();
    if (answer.status !== 503) t.fail(answer.head);
    t.equal(answer.headers.get('connection'), 'close', `refusal ${i + 1} says that it closes`);
    await refused.ended();
    refused.socket.end();
  }
  for (const client of served) {
    t.equal((await client.request(requestText('/'))).status, 200, 'the others are served');
  }

  served[0]?.socket.destroy();
  await until('there is room for one more', async () => {
    const next = await connectRaw(t, server);
    await next.send(requestText('/'));
    const answer = await next.next();
    if (answer.status === 503) next.socket.destroy();
    return answer.status === 200;
  });
  t.strictSame(await server.stop(), { code: 0, signal: null });
});
