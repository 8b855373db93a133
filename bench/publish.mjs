// CPU time per delivery of a published message, beside Bun's server.publish; and how many requests
// a rate limit shared by several reactors admits. See bench/README.md.
//
//   node bench/publish.mjs [--subscribers 1000] [--processes 4] [--every 50] [--seconds 5]
//                          [--rounds 3] [--only moonring,bun,rate] [--json]
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { BENCH, readOptions, runMain } from './lib/command.mjs';
import { processTree, spentBy } from './lib/processes.mjs';
import { BUN, PEERS, startMoonring, startServer } from './lib/servers.mjs';

/** Bytes of a delivery: the message of 100 bytes and its framing, a chunk or a WebSocket frame. */
const CHUNK = 100 + 6;
const FRAME = 100 + 2;
const RATE = 100;

const { values } = readOptions({
  subscribers: '1000',
  processes: '4',
  every: '50',
  seconds: '5',
  rounds: '3',
  only: 'moonring,bun,rate',
});

/** The child process: subscribers, which count their bytes. */
async function subscribe({ port, count, upgrade }) {
  let bytes = 0;
  const fields = upgrade
    ? 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
    : '';
  for (let i = 0; i < count; i++) {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.write(`GET /follow HTTP/1.1\r\nHost: bench\r\n${fields}\r\n`);
    await once(socket, 'data');
    socket.on('data', (chunk) => {
      bytes += chunk.length;
    });
  }
  process.on('message', () => process.send(bytes));
  process.send('subscribed');
}

const moonring = () =>
  startMoonring(join(BENCH, 'apps/publish.lua'), {
    cores: 'all',
    environment: { PUBLISH_MS: values.every },
    options: ['--accept', 'boss', '--shared', 'limits=1m'],
    processes: values.processes,
  });

const CONTENDERS = {
  moonring: { start: moonring, upgrade: false, bytes: CHUNK },
  bun: {
    start: () =>
      startServer([BUN, join(PEERS, 'bun.mjs')], {
        cores: 'all',
        environment: { PUBLISH_MS: values.every },
      }),
    upgrade: true,
    bytes: FRAME,
  },
};

/** Microseconds of CPU time of the server per message received by a subscriber. */
async function measure({ start, upgrade, bytes }) {
  const server = await start();
  const order = JSON.stringify({ port: server.port, count: Number(values.subscribers), upgrade });
  const child = fork(import.meta.filename, [], { env: { ...process.env, SUBSCRIBE: order } });
  const message = () => once(child, 'message').then(([value]) => value);
  const received = () => {
    child.send('count');
    return message();
  };
  try {
    await message();
    await delay(1000);
    const pids = processTree(server.pid);
    const before = { spent: spentBy(pids).cpuMicros, received: await received() };
    await delay(Number(values.seconds) * 1000);
    const cpuMicros = spentBy(pids).cpuMicros - before.spent;
    const deliveries = ((await received()) - before.received) / bytes;
    return { cpuMicros: cpuMicros / deliveries, perSecond: deliveries / Number(values.seconds) };
  } finally {
    child.kill();
    await server.stop();
  }
}

/**
 * Sends requests when they are due, whether earlier ones have finished or not: admitted per second.
 */
async function measureRate() {
  const server = await moonring();
  const sockets = Array.from({ length: 32 }, () =>
    connect({ port: server.port, host: '127.0.0.1' }),
  );
  let admitted = 0;
  for (const socket of sockets) {
    await once(socket, 'connect');
    socket.on('data', (bytes) => {
      admitted += bytes.toString('latin1').split('HTTP/1.1 200').length - 1;
    });
  }
  let sent = 0;
  const send = async (seconds) => {
    const [before, begin] = [admitted, performance.now()];
    const first = sent;
    while (performance.now() - begin < seconds * 1000) {
      const due = first + ((performance.now() - begin) / 1000) * 4 * RATE;
      while (sent < due) {
        sockets[sent++ % sockets.length].write('GET /rate HTTP/1.1\r\nHost: bench\r\n\r\n');
      }
      await delay(1);
    }
    return (admitted - before) / ((performance.now() - begin) / 1000);
  };
  await send(1); // the rest of the burst
  const perSecond = await send(2 * Number(values.seconds));
  for (const socket of sockets) socket.destroy();
  await server.stop();
  return perSecond;
}

const median = (list) => list.sort((a, b) => a - b)[Math.floor(list.length / 2)];

async function main() {
  const wanted = values.only.split(',');
  const names = Object.keys(CONTENDERS).filter((name) => wanted.includes(name));
  if (names.includes('bun') && !existsSync(BUN)) {
    throw new Error('bun is missing: npm install --prefix bench/peers --no-package-lock');
  }
  const rounds = Object.fromEntries(names.map((name) => [name, []]));
  for (let i = 0; i < Number(values.rounds); i++) {
    for (const name of names) rounds[name].push(await measure(CONTENDERS[name]));
  }
  const results = {};
  for (const name of names) {
    const cpuMicros = median(rounds[name].map((round) => round.cpuMicros));
    const perSecond = median(rounds[name].map((round) => round.perSecond));
    results[name] = { cpuMicros, perSecond };
    if (!values.json) {
      console.log(
        `${name}: ${cpuMicros.toFixed(2)} µs of CPU time per delivery, ${Math.round(perSecond)} per second`,
      );
    }
  }
  if (wanted.includes('rate')) {
    results.rate = await measureRate();
    if (!values.json)
      console.log(`rate: ${results.rate.toFixed(2)} per second admitted of ${RATE}`);
  }
  if (values.json) console.log(JSON.stringify(results));
}

if (process.env.SUBSCRIBE) await subscribe(JSON.parse(process.env.SUBSCRIBE));
else runMain(main);
