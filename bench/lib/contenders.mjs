// The servers that bench/run.mjs compares, in the order of the table. Each says why it cannot run
// here, or starts, and does one of two works.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  h2oMissing,
  nginxLuaMissing,
  nginxMissing,
  startH2o,
  startNginxApp,
  startNginxHello,
  startNginxStatic,
} from './configured-peers.mjs';
import {
  bunMissing,
  fastifyMissing,
  goMissing,
  startBun,
  startGo,
  startNode,
} from './programmed-peers.mjs';
import { BENCH, portOfNumber, ROOT, startMoonring, startServer } from './programs.mjs';

/** What is asked, and what the answer must be. */
const HELLO = { path: '/', type: 'text/plain', body: () => 'hello, world\n' };
const APP = {
  path: '/users/42',
  agent: 'bench',
  type: 'application/json',
  body: (port) => `{"id":42,"host":"127.0.0.1:${port}","agent":"bench"}`,
};

function moonringMissing() {
  const needed = [join(ROOT, 'dist', 'master.js'), join(ROOT, 'build', 'release', 'moonring.node')];
  const missing = needed.find((path) => !existsSync(path));
  return missing ? `${missing} is not built (npm run build)` : undefined;
}

const never = () => undefined;

function ours(helpers) {
  return [
    {
      name: 'raw',
      work: HELLO,
      missing: never,
      start: () => startServer({ command: helpers.raw, args: [], portOf: portOfNumber }),
    },
    {
      name: 'moonring-c',
      work: HELLO,
      missing: moonringMissing,
      start: () => startMoonring(helpers.helloC),
    },
    {
      name: 'moonring-hello',
      work: HELLO,
      missing: moonringMissing,
      start: () => startMoonring(join(ROOT, 'examples', 'hello.lua')),
    },
    {
      name: 'moonring-app',
      work: APP,
      missing: moonringMissing,
      start: () => startMoonring(join(BENCH, 'apps', 'app-like.lua')),
    },
  ];
}

const PEERS = [
  { name: 'nginx-static', work: HELLO, missing: nginxMissing, start: startNginxStatic },
  { name: 'nginx-lua-hello', work: HELLO, missing: nginxLuaMissing, start: startNginxHello },
  { name: 'nginx-lua-app', work: APP, missing: nginxLuaMissing, start: startNginxApp },
  { name: 'h2o-mruby', work: HELLO, missing: h2oMissing, start: startH2o },
  { name: 'bun-hello', work: HELLO, missing: bunMissing, start: () => startBun('hello') },
  { name: 'bun-app', work: APP, missing: bunMissing, start: () => startBun('app') },
  { name: 'go-fasthttp', work: HELLO, missing: goMissing, start: () => startGo('fasthttp') },
  { name: 'go-nethttp', work: HELLO, missing: goMissing, start: () => startGo('nethttp') },
  { name: 'node-http', work: HELLO, missing: never, start: () => startNode('node-http.mjs') },
  {
    name: 'fastify-hello',
    work: HELLO,
    missing: fastifyMissing,
    start: () => startNode('fastify.mjs', 'hello'),
  },
  {
    name: 'fastify-app',
    work: APP,
    missing: fastifyMissing,
    start: () => startNode('fastify.mjs', 'app'),
  },
];

/** All of them. `helpers` is what buildHelpers returns. */
export function contenders(helpers) {
  return [...ours(helpers), ...PEERS];
}
