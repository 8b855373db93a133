// User-space instructions per request. See bench/README.md.
//
//   node bench/instructions.mjs [--only raw,c,hello,app,router] [--requests 64] [--json]
import { spawn, spawnSync } from 'node:child_process';
import { on, once } from 'node:events';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { requestText } from './lib/answer.mjs';
import { choose, list, runMain } from './lib/arguments.mjs';
import {
  BENCH,
  buildHelpers,
  hasProgram,
  portOfNumber,
  ROOT,
  requirePrograms,
  startServer,
} from './lib/programs.mjs';
import { startWarmReactor } from './lib/reactor.mjs';
import { runFaultlessWrk } from './lib/wrk.mjs';

// Stepping makes every handler slow, which `auto` would answer by moving it to a worker.
const INLINE = ['--dispatch', 'inline'];

const HARDWARE_SECONDS = 2;
const PIPELINE_DEPTH = 16;

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    requests: { type: 'string', default: '64' },
    json: { type: 'boolean', default: false },
  },
});

const subjects = [
  {
    name: 'raw',
    path: '/',
    start: async (helpers) => {
      const server = await startServer({ command: helpers.raw, args: [], portOf: portOfNumber });
      const url = `http://127.0.0.1:${server.port}/`;
      await runFaultlessWrk({ url, seconds: 1 });
      return { ...server, url, ioThread: server.pid };
    },
  },
  {
    name: 'c',
    path: '/',
    start: (helpers) => startWarmReactor(helpers.helloC, { options: INLINE }),
  },
  {
    name: 'hello',
    path: '/',
    start: () => startWarmReactor(join(ROOT, 'examples', 'hello.lua'), { options: INLINE }),
  },
  {
    name: 'app',
    path: '/users/42',
    start: () => startApp('app-like.lua'),
  },
  {
    name: 'router',
    path: '/users/42',
    start: () => startApp('router.lua'),
  },
];

function startApp(file) {
  return startWarmReactor(join(BENCH, 'apps', file), { path: '/users/42', options: INLINE });
}

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
  const { requests } = await runFaultlessWrk({ url: server.url, seconds: HARDWARE_SECONDS, depth });
  perf.kill('SIGINT');
  await once(perf, 'close');
  return Number(/^(\d+),/m.exec(output)[1]) / requests;
}

// A connection that sends the same request (as wrk writes it) `depth` times at once and waits for
// all the answers.
async function openClient(server, path, depth) {
  const request = requestText(server.port, path);
  const socket = createConnection(server.port, '127.0.0.1');
  await once(socket, 'connect');
  let answerLength = 0;
  const exchange = async (count) => {
    let received = 0;
    socket.write(request.repeat(count));
    for await (const [chunk] of on(socket, 'data')) {
      received += chunk.length;
      if (answerLength === 0 && chunk.includes('\r\n\r\n')) {
        answerLength = lengthOfAnswer(chunk.toString('latin1'));
      }
      if (received === answerLength * count) {
        return;
      }
    }
  };
  await exchange(1);
  return { batch: () => exchange(depth), close: () => socket.destroy() };
}

function lengthOfAnswer(text) {
  const head = text.indexOf('\r\n\r\n') + 4;
  return head + Number(/^content-length: (\d+)/im.exec(text)[1]);
}

// Counts between two answered batches, so that attaching and connecting stay outside.
async function countBySteps(helpers, server, path, depth) {
  const client = await openClient(server, path, depth);
  const batches = Math.max(1, Math.round(Number(options.requests) / depth));
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

async function countSubject(subject, helpers, hardware) {
  const server = await subject.start(helpers);
  const count = (depth) =>
    hardware ? countByHardware(server, depth) : countBySteps(helpers, server, subject.path, depth);
  try {
    return { name: subject.name, plain: await count(1), pipelined: await count(PIPELINE_DEPTH) };
  } finally {
    await server.stop();
  }
}

function print({ name, plain, pipelined }) {
  const cells = [plain, pipelined].map((value) => value.toFixed(0).padStart(7));
  console.log(`${name.padEnd(8)} plain ${cells[0]}   ${PIPELINE_DEPTH}-deep ${cells[1]}`);
}

async function main() {
  requirePrograms('wrk', 'cmake');
  const helpers = buildHelpers();
  const hardware = hasHardwareCounter();
  const how = hardware ? 'hardware counter, 64 connections' : 'stepped, 1 connection';
  if (!options.json) {
    console.log(`user-space instructions per request (${how})`);
  }
  const rows = [];
  for (const subject of choose(subjects, list(options.only))) {
    rows.push(await countSubject(subject, helpers, hardware));
    if (!options.json) {
      print(rows.at(-1));
    }
  }
  if (options.json) {
    console.log(JSON.stringify({ how, rows }));
  }
}

await runMain(main);
