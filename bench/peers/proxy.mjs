// The work proxy of lib/servers.mjs with @fastify/http-proxy. Prints its port.
import proxy from '@fastify/http-proxy';
import fastify from 'fastify';

const app = fastify();
app.register(proxy, { upstream: `http://127.0.0.1:${process.env.UPSTREAM}` });
await app.listen({ port: 0, host: '127.0.0.1' });
console.log(app.server.address().port);
