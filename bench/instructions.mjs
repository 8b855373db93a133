// User-space instructions per request. See bench/README.md.
//
//   node bench/instructions.mjs [--only raw,c,hello,app,router] [--requests 64] [--json]
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import {
  BENCH,
  choose,
  hasProgram,
  readOptions,
  requirePrograms,
  runMain,
} from './lib/command.mjs';
import { mustBeValid, runWrk } from './lib/load.mjs';
import {
  buildHelloC,
  buildHelpers,
  HELLO,
  startServer,
  startWarm,
  warmUp,
} from './lib/servers.mjs';

// Stepping makes every handler slow, which `auto` would answer by moving it to a worker.
const options = ['--dispatch', 'inline'];
const HARDWARE_SECONDS = 2;
const PIPELINE_DEPTH = 16;

const { values } = readOptions({ only: '', requests: '64' });

const startApp = (file) =>
  startWarm(join(BENCH, 'apps', file), { path: '/users/42', options }).then((server) => ({
    ...server,
    path: '/users/42',
  }));

const SUBJECTS = {
  raw: async (helpers) => {
    const server = await startServer([helpers.raw], {});
    return { ...server, ...(await warmUp(server, server.pid)) };
  },
  c: () => startWarm(buildHelloC(), { options }),
  hello: () => startWarm(HELLO, { options }),
  app: () => startApp('app-like.lua'),
  router: () => startApp('router.lua'),
};

function hasHardwareCounter() {
  if (!hasProgram('perf')) {
    return false;
  }
  const probe = spawnSync('perf', ['stat', '-x,', '-e', 'instructions:u', 'true'], {
    encoding: 'utf8',
  });
  return probe.status === 0 && /^\d+,/m.test(probe.stderr);
}

async function countByHardware(server, depth) {
  const perf = spawn('perf', [
    ...['stat', '-x,', '-e', 'instructions:u', '-t', String(server.ioThread)],
  ]);
  let output = '';
  perf.stderr.on('data', (chunk) => {
    output += chunk;
  });
  const { port, path } = server;
  const { requests } = mustBeValid(await runWrk({ port, path, seconds: HARDWARE_SECONDS, depth }));
  perf.kill('SIGINT');
  await once(perf, 'close');
  return Number(/^(\d+),/m.exec(output)[1]) / requests;
}

// A connection that sends the same request, as wrk writes it, `depth` times at once and waits for
// all the responses.
async function openClient({ port, path = '/' }, depth) {
  const request = `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`;
  const socket = createConnection(port, '127.0.0.1');
  await once(socket, 'connect');
  let responseLength = 0;
  const exchange = async (count) => {
    let received = 0;
    socket.write(request.repeat(count));
    while (responseLength === 0 || received < responseLength * count) {
      const [chunk] = await once(socket, 'data');
      received += chunk.length;
      if (responseLength === 0 && chunk.includes('\r\n\r\n')) responseLength = lengthOf(chunk);
    }
  };
  await exchange(1);
  return { batch: () => exchange(depth), close: () => socket.destroy() };
}

function lengthOf(chunk) {
  const text = chunk.toString('latin1');
  return text.indexOf('\r\n\r\n') + 4 + Number(/^content-length: (\d+)/im.exec(text)[1]);
}

// Counts between two batches, so that attaching and connecting stay outside.
async function countBySteps(helpers, server, depth) {
  const client = await openClient(server, depth);
  const batches = Math.max(1, Math.round(Number(values.requests) / depth));
  for (let i = 0; i < 20; i++) {
    await client.batch();
  }
  const stepper = spawn(helpers.stepCount, [String(server.ioThread)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: stepper.stdout })[Symbol.asyncIterator]();
  const count = async () => {
    stepper.stdin.write('\n');
    return Number((await lines.next()).value);
  };
  await lines.next();
  await client.batch();
  const start = await count();
  for (let i = 0; i < batches; i++) {
    await client.batch();
  }
  const end = await count();
  stepper.stdin.end();
  await once(stepper, 'close');
  client.close();
  return (end - start) / (batches * depth);
}

async function main() {
  requirePrograms('wrk', 'cmake');
  const helpers = buildHelpers();
  const hardware = hasHardwareCounter();
  const how = hardware ? 'hardware counter, 64 connections' : 'stepped, 1 connection';
  if (!values.json) console.log(`user-space instructions per request (${how})`);
  const rows = [];
  for (const name of choose(values.only, Object.keys(SUBJECTS))) {
    const server = await SUBJECTS[name](helpers);
    const count = (depth) =>
      hardware ? countByHardware(server, depth) : countBySteps(helpers, server, depth);
    try {
      rows.push({ name, plain: await count(1), pipelined: await count(PIPELINE_DEPTH) });
    } finally {
      await server.stop();
    }
    if (values.json) continue;
    const [plain, pipelined] = [rows.at(-1).plain, rows.at(-1).pipelined].map((value) =>
      value.toFixed(0).padStart(7),
    );
    console.log(`${name.padEnd(8)} plain ${plain}   ${PIPELINE_DEPTH}-deep ${pipelined}`);
  }
  if (values.json) console.log(JSON.stringify({ how, rows }));
}

await runMain(main);
