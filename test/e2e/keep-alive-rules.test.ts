import t from 'tap';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';

const server = await startServer(t);

t.test('HTTP/1.1 keeps the connection unless told otherwise', async (t) => {
  const client = await connectRaw(t, server);
  const first = await client.request(requestText('/'));
  t.equal(first.version, '1.1');
  t.not(first.headers.get('connection'), 'close');
  const second = await client.request(requestText('/', { headers: { Connection: 'keep-alive' } }));
  t.not(second.headers.get('connection'), 'close');
  t.equal((await client.request(requestText('/'))).status, 200);
});

t.test('Connection: close gets close and ends the connection', async (t) => {
  for (const value of ['close', 'Close', 'foo, close']) {
    const client = await connectRaw(t, server);
    const response = await client.request(requestText('/', { headers: { Connection: value } }));
    t.equal(response.status, 200);
    t.equal(response.headers.get('connection'), 'close', value);
    await client.ended();
  }
});

t.test('requests after Connection: close get no response', async (t) => {
  const client = await connectRaw(t, server);
  await client.send(requestText('/', { headers: { Connection: 'close' } }) + requestText('/'));
  t.equal((await client.next()).status, 200);
  await client.ended();
});

t.test('HTTP/1.0 ends the connection by default', async (t) => {
  const client = await connectRaw(t, server);
  const response = await client.request(requestText('/', { version: '1.0' }));
  t.equal(response.status, 200);
  t.equal(response.headers.get('connection'), 'close');
  await client.ended();
});

t.test('HTTP/1.0 without Host is served', async (t) => {
  const client = await connectRaw(t, server);
  const response = await client.request('GET / HTTP/1.0\r\n\r\n');
  t.equal(response.body.toString(), 'hello, world\n');
  await client.ended();
});

t.test('HTTP/1.0 with Connection: keep-alive keeps it and says so', async (t) => {
  const client = await connectRaw(t, server);
  const parts = { version: '1.0', headers: { Connection: 'Keep-Alive' } } as const;
  for (let i = 0; i < 3; i++) {
    const response = await client.request(requestText('/', parts));
    t.match(response.headers.get('connection'), /^keep-alive$/i);
    t.equal(response.body.toString(), 'hello, world\n');
  }
  const last = await client.request(requestText('/', { version: '1.0' }));
  t.equal(last.headers.get('connection'), 'close');
  await client.ended();
});

t.test('a client that has shut down its side still gets its responses', async (t) => {
  const client = await connectRaw(t, server);
  await client.send(requestText('/') + requestText('/headers'));
  client.socket.end();
  t.equal((await client.next()).body.toString(), 'hello, world\n');
  t.equal((await client.next()).body.toString(), 'host: localhost\n');
  await client.ended();
});
