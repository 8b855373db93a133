// The works of lib/servers.mjs from Bun's own server. Prints its port.
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
  fetch: () => json('{"error":"not found"}', 404),
});
console.log(server.port);
