// Calls per second of CPU time of moonring.shared, beside ngx.shared in Debian's nginx, with 1, 2
// and 4 processes at the same time. See bench/README.md.
//
//   node bench/shared.mjs [--calls get,text,incr,set] [--processes 1,2,4] [--rounds 3] [--json]
import { Agent, get } from 'node:http';
import { join } from 'node:path';
import { BENCH, choose, median, ratios, readOptions, runMain, spread } from './lib/command.mjs';
import { processTree, spentBy } from './lib/processes.mjs';
import { NGINX_LUA, startMoonring, startNginx } from './lib/servers.mjs';

const CALLS = {
  get: 'get, a number',
  text: 'get, 200 bytes',
  incr: 'incr, one key',
  set: 'set, a number',
};
const GOALS = { get: 3, incr: 5 };
/** Calls per process and measurement. */
const COUNT = 1_000_000;
const APP = join(BENCH, 'apps/shared.lua');

const { values } = readOptions({ calls: '', processes: '1,2,4', rounds: '3' });

/** One request on a connection of `agent`. */
function ask(port, path, agent) {
  return new Promise((resolve, reject) => {
    get({ port, path, agent, host: '127.0.0.1' }, (response) => {
      let body = '';
      response.on('data', (piece) => {
        body += piece;
      });
      response.on('end', () =>
        response.statusCode === 200 ? resolve(body) : reject(new Error(`${path}: ${body}`)),
      );
    }).on('error', reject);
  });
}

/** A keep-alive connection to each process: agents by pid. */
async function connectAll(port, processes) {
  const agents = new Map();
  for (let attempt = 0; attempt < 2000 && agents.size < processes; attempt++) {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const pid = await ask(port, '/pid', agent);
    if (agents.has(pid)) agent.destroy();
    else agents.set(pid, agent);
  }
  if (agents.size < processes) throw new Error('not every process has taken a connection');
  return [...agents.values()];
}

const nginxShared = (port) => `
  lua_shared_dict bench 16m;
  init_by_lua_block { run = dofile '${APP}' }
  server {
    listen 127.0.0.1:${port} reuseport;
    location / { content_by_lua_block { run() } }
  }`;

const SERVERS = {
  moonring: (processes) =>
    startMoonring(APP, {
      cores: 'all',
      options: [
        ...['--shared', 'bench=16m', '--dispatch', 'inline', '--handler-timeout', '0'],
        ...['--liveness-grace', '0'],
      ],
      processes,
    }),
  nginx: (processes) => startNginx(nginxShared, NGINX_LUA, { workers: processes, cores: 'all' }),
};

async function open(name, processes) {
  const server = await SERVERS[name](processes);
  const agents = await connectAll(server.port, processes);
  await ask(server.port, '/fill?1', agents[0]);
  return { ...server, agents };
}

/** Millions of calls per second of CPU time, and per second. */
async function measure({ port, pid, agents }, call) {
  const path = `/${call}?${COUNT}`;
  const pids = processTree(pid);
  const before = spentBy(pids).cpuMicros;
  const begun = performance.now();
  await Promise.all(agents.map((agent) => ask(port, path, agent)));
  const seconds = (performance.now() - begun) / 1000;
  const calls = (COUNT * agents.length) / 1e6;
  return {
    perCpuSecond: calls / ((spentBy(pids).cpuMicros - before) / 1e6),
    perSecond: calls / seconds,
  };
}

/** In turns: the ratio of a round compares two consecutive measurements. */
async function compare(processes, calls) {
  const servers = {};
  try {
    for (const name of Object.keys(SERVERS)) servers[name] = await open(name, processes);
    const results = [];
    for (const call of calls) {
      const rounds = { moonring: [], nginx: [] };
      for (const name of Object.keys(servers)) await measure(servers[name], call);
      for (let i = 0; i < Number(values.rounds); i++) {
        for (const name of Object.keys(servers)) {
          rounds[name].push(await measure(servers[name], call));
        }
      }
      const of = (name) => median(rounds[name].map(({ perCpuSecond }) => perCpuSecond));
      const ratio = ratios(rounds.moonring, rounds.nginx, ({ perCpuSecond }) => perCpuSecond);
      results.push({ processes, call, moonring: of('moonring'), nginx: of('nginx'), ratio });
    }
    return results;
  } finally {
    for (const { agents, stop } of Object.values(servers)) {
      for (const agent of agents) agent.destroy();
      await stop();
    }
  }
}

runMain(async () => {
  const calls = choose(values.calls, Object.keys(CALLS));
  const results = [];
  for (const processes of values.processes.split(',').map(Number)) {
    for (const result of await compare(processes, calls)) {
      results.push(result);
      if (values.json) continue;
      const { call, moonring, nginx, ratio } = result;
      const goal = GOALS[call] === undefined ? '' : `, goal ${GOALS[call]}`;
      console.log(
        `${processes} processes, ${CALLS[call]}: ${moonring.toFixed(2)} and ${nginx.toFixed(2)} ` +
          `million per CPU second, ratio ${spread(ratio)}${goal}`,
      );
    }
  }
  if (values.json) console.log(JSON.stringify(results, null, 2));
});
