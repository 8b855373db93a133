// The hello or app answer from Bun's own server: `bun peers/bun.mjs hello|app`. Prints its port.
/* global Bun */

const TEXT = { headers: { 'Content-Type': 'text/plain' } };
const JSON_TYPE = { 'Content-Type': 'application/json' };

const json = (status, text) => new Response(text, { status, headers: JSON_TYPE });

function user(request) {
  const id = Number(request.params.id);
  if (!Number.isInteger(id) || id < 1) {
    return json(404, '{"error":"no such user"}');
  }
  const host = request.headers.get('Host') ?? '';
  const agent = request.headers.get('User-Agent') ?? '';
  return json(200, `{"id":${id},"host":"${host}","agent":"${agent}"}`);
}

const ROUTES = {
  hello: { '/': () => new Response('hello, world\n', TEXT) },
  app: {
    '/health': { GET: () => json(200, '{"ok":true}') },
    '/users': {
      POST: async (request) => json(201, `{"length":${(await request.arrayBuffer()).byteLength}}`),
    },
    '/users/:id': { GET: user },
  },
};

const server = Bun.serve({
  port: 0,
  hostname: '127.0.0.1',
  development: false,
  routes: ROUTES[process.argv[2]],
  fetch: () => json(404, '{"error":"not found"}'),
});
console.log(server.port);
