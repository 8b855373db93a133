import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import t from 'tap';
import { hasProgram, startServer } from './server.js';

const run = promisify(execFile);
const REQUESTS = 50;

const server = await startServer(t, { processes: 2 });

async function answerTo(sent: ClientRequest): Promise<IncomingMessage> {
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  return response;
}

const withoutCurl = hasProgram('curl') ? false : 'curl is not installed';

t.test('curl', { skip: withoutCurl }, async (t) => {
  const curl = async (...args: string[]) => (await run('curl', ['-sS', ...args])).stdout;
  t.match(await curl('-i', server.url), /^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\nhello, world\n$/);
  t.equal(await curl('-d', 'hello', `${server.url}/echo`), 'hello');
  t.match(
    await curl('-I', server.url),
    /^HTTP\/1\.1 200 OK\r\n[\s\S]*content-length: 13\r\n(.+\r\n)*\r\n$/i,
  );
  const chunked = ['-H', 'Transfer-Encoding: chunked', '-d', 'in chunks'];
  t.equal(await curl(...chunked, `${server.url}/echo`), 'in chunks');
  t.equal(await curl('-0', server.url), 'hello, world\n', 'HTTP/1.0');
  t.equal(
    await curl('-w', '%{num_connects}\n', server.url, server.url),
    'hello, world\n1\nhello, world\n0\n',
    'the second request reuses the connection',
  );
});

t.test('fetch', async (t) => {
  const answers = await Promise.all(
    Array.from({ length: REQUESTS }, async (_, i) => {
      const response = await fetch(`${server.url}/echo`, { method: 'POST', body: `number ${i}` });
      return `${response.status} ${await response.text()}`;
    }),
  );
  t.strictSame(
    answers,
    Array.from({ length: REQUESTS }, (_, i) => `200 number ${i}`),
  );
  const missing = await fetch(`${server.url}/nothing`);
  t.equal(missing.status, 404);
  t.equal(await missing.text(), 'not found\n');
});

t.test('http.Agent with keep-alive', async (t) => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  const answers: string[] = [];
  let reused = 0;
  for (let i = 0; i < REQUESTS; i++) {
    const sent = request(`${server.url}/echo`, { agent, method: 'POST' });
    sent.end(`number ${i}`);
    answers.push(await text(await answerTo(sent)));
    if (sent.reusedSocket) reused++;
  }
  t.ok(answers.every((answer, i) => answer === `number ${i}`));
  t.equal(reused, REQUESTS - 1, 'all but the first request reuse the connection');
});

t.test('http.Agent without keep-alive', async (t) => {
  const agent = new Agent({ keepAlive: false });
  const answers = await Promise.all(
    Array.from({ length: REQUESTS }, async () => {
      const sent = request(server.url, { agent });
      sent.end();
      return text(await answerTo(sent));
    }),
  );
  t.ok(answers.every((answer) => answer === 'hello, world\n'));
});
