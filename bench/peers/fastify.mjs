// The hello or app answer from Fastify: `node fastify.mjs hello|app`. Prints its port on one line.
import fastify from 'fastify';

const app = fastify();

function json(reply, status, text) {
  return reply.code(status).type('application/json').send(text);
}

function routeHello() {
  app.get('/', (_request, reply) => {
    reply.type('text/plain').send('hello, world\n');
  });
}

function routeApp() {
  app.get('/health', (_request, reply) => json(reply, 200, '{"ok":true}'));
  app.post('/users', (request, reply) =>
    json(reply, 201, `{"length":${String(request.body ?? '').length}}`),
  );
  app.get('/users/:id', (request, reply) => {
    const id = Number(request.params.id);
    if (!Number.isInteger(id) || id < 1) {
      return json(reply, 404, '{"error":"no such user"}');
    }
    const { host = '', 'user-agent': agent = '' } = request.headers;
    return json(reply, 200, `{"id":${id},"host":"${host}","agent":"${agent}"}`);
  });
}

if (process.argv[2] === 'app') {
  routeApp();
} else {
  routeHello();
}
await app.listen({ port: 0, host: '127.0.0.1' });
console.log(app.server.address().port);
