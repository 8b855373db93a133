import { once } from 'node:events';
import { EventSource } from 'eventsource';
import t from 'tap';
import WebSocket from 'ws';
import { startServer } from './server.js';
import { until } from './until.js';

const args = ['--accept', 'boss'];
const server = await startServer(t, { app: 'examples/lua/chat.lua', processes: 2, args });

async function join(room: string) {
  const socket = new WebSocket(`${server.url.replace('http', 'ws')}/rooms/${room}`);
  t.teardown(() => socket.terminate());
  const heard: string[] = [];
  socket.on('message', (data: Buffer) => heard.push(data.toString()));
  await once(socket, 'open');
  return { socket, heard };
}

async function post(path: string, body: string): Promise<number> {
  const response = await fetch(`${server.url}${path}`, { method: 'POST', body });
  await response.text();
  return response.status;
}

t.test('a message in a room reaches its sockets on both reactors, and no others', async (t) => {
  const tea = await Promise.all([1, 2, 3, 4].map(() => join('tea')));
  const coffee = await join('coffee');
  tea[0]?.socket.send('hello');
  await until('all have heard it', () => tea.every(({ heard }) => heard.length === 1));
  t.equal(await post('/rooms/tea', 'two\nlines'), 202);
  t.equal(await post('/rooms/coffee', 'black'), 202);
  await until('all have heard it', () => tea.every(({ heard }) => heard.length === 2));
  for (const { heard } of tea) t.strictSame(heard, ['hello', 'two\nlines']);
  await until('the other room', () => coffee.heard.length === 1);
  t.strictSame(coffee.heard, ['black']);
  t.equal(await post('/rooms/tea', ''), 422);
  t.equal(await post('/rooms/tea', 'x'.repeat(4097)), 422);
  coffee.socket.send('x'.repeat(4097));
  const [code, reason] = await once(coffee.socket, 'close');
  t.equal(`${code} ${reason}`, '1009 a message has 1 to 4096 bytes');
});

t.test('clicks reach all viewers of the room', async (t) => {
  const source = new EventSource(`${server.url}/rooms/tea/clicks`);
  t.teardown(() => source.close());
  const places: string[] = [];
  source.addEventListener('click', ({ data }) => places.push(data));
  await new Promise((resolve) => source.addEventListener('open', resolve));
  t.equal(await post('/rooms/tea/clicks', '12.5,80'), 204);
  await until('the click', () => places.length === 1);
  t.strictSame(places, ['12.5,80']);
  for (const place of ['', '1', '100.0,5', '1,<b>'])
    t.equal(await post('/rooms/tea/clicks', place), 422);
});

t.test('the page uses both', async (t) => {
  const response = await fetch(server.url);
  t.match(response.headers.get('content-type'), /^text\/html/);
  t.match(await response.text(), /new WebSocket\(.*new EventSource\(/s);
});
