// The works of lib/servers.mjs with Bun's server. Prints its port.
/* global Bun */

const typed = (type, text, status = 200) =>
  new Response(text, { status, headers: { 'Content-Type': type } });
const json = (text, status) => typed('application/json', text, status);
const page = '<p>twenty kilobytes</p>'.repeat(1000).slice(0, 20 * 1024);
const large = 'x'.repeat(1024 * 1024);

function user({ params, headers }) {
  const id = Number(params.id);
  if (!Number.isInteger(id) || id < 1) return json('{"error":"no such user"}', 404);
  const [host, agent] = ['Host', 'User-Agent'].map((name) => headers.get(name) ?? '');
  return json(`{"id":${id},"host":"${host}","agent":"${agent}"}`);
}

const server = Bun.serve({
  port: 0,
  hostname: '127.0.0.1',
  development: false,
  routes: {
    '/': () => typed('text/plain', 'hello, world\n'),
    '/users/:id': { GET: user },
    '/page': () => typed('text/html', page),
    '/large': () => typed('text/plain', large),
    '/echo': { POST: async (request) => typed('text/plain', await request.arrayBuffer()) },
  },
  websocket: {
    open: (socket) => {
      if (socket.data.echoes) return;
      socket.subscribe('news');
      if (!process.env.PUBLISH_TIMES) socket.send('welcome');
    },
    message: (socket, message) => {
      if (socket.data.echoes) socket.send(message);
    },
  },
  fetch: (request, self) =>
    self.upgrade(request, { data: { echoes: request.url.endsWith('/echo') } })
      ? undefined
      : json('{"error":"not found"}', 404),
});
if (process.env.PUBLISH_MS) {
  const message = `${'x'.repeat(99)}\n`;
  const timed = () =>
    Math.round((performance.timeOrigin + performance.now()) * 1000) + message.slice(0, 84);
  const next = process.env.PUBLISH_TIMES ? timed : () => message;
  setInterval(() => server.publish('news', next()), Number(process.env.PUBLISH_MS));
}
console.log(server.port);
