// CPU time per request of several servers, measured in turns: A B C A B C … See bench/README.md.
//
//   node bench/run.mjs [--rounds 5] [--seconds 2] [--connections 64] [--json]
//     [--modes plain,pipelined,paced] [--rate 20000] [--only raw,moonring] [--base raw]
import { parseArgs } from 'node:util';
import { ask, faultOfAnswer } from './lib/answer.mjs';
import { choose, list, runMain } from './lib/arguments.mjs';
import { DEPTHS, runRounds, summarise } from './lib/comparison.mjs';
import { printTable } from './lib/comparison-table.mjs';
import { contenders } from './lib/contenders.mjs';
import { buildHelpers, canPin, requirePrograms } from './lib/programs.mjs';

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '2' },
    connections: { type: 'string', default: '64' },
    modes: { type: 'string', default: 'plain,pipelined,paced' },
    rate: { type: 'string', default: '20000' },
    only: { type: 'string', default: '' },
    base: { type: 'string', default: 'raw' },
    json: { type: 'boolean', default: false },
  },
});

// A server whose answer is not the one asked for is not measured.
async function startChecked(contender) {
  const server = await contender.start();
  const { path, agent, type, body } = contender.work;
  const named = { ...server, name: contender.name, path, agent };
  try {
    const answer = await ask(server.port, path, agent);
    const fault = faultOfAnswer(answer, { type, body: body(server.port) });
    return { ...named, answerBytes: answer.bytes, fault };
  } catch (error) {
    return { ...named, fault: `does not answer as it should: ${error.message}` };
  }
}

async function compare(servers, mode, helpers) {
  const results = await runRounds(
    servers.filter(({ fault }) => fault === undefined),
    Number(options.rounds),
    {
      depth: DEPTHS[mode],
      seconds: Number(options.seconds),
      connections: Number(options.connections),
      rate: Number(options.rate),
      helper: helpers.paced,
    },
  );
  return servers.map((server) =>
    server.fault
      ? { name: server.name, invalid: server.fault }
      : summarise(server, results.get(server.name), results.get(options.base)),
  );
}

async function startAll(chosen, servers) {
  for (const contender of chosen) {
    const missing = contender.missing();
    if (missing) {
      console.error(`Skipped ${contender.name}: ${missing}`);
    } else {
      servers.push(await startChecked(contender));
    }
  }
}

async function main() {
  requirePrograms('wrk', 'cmake');
  const modes = list(options.modes);
  const unknown = modes.filter((mode) => !(mode in DEPTHS));
  if (unknown.length > 0) {
    const known = Object.keys(DEPTHS).join(', ');
    throw new Error(`No such mode: ${unknown.join(', ')}. There are: ${known}.`);
  }
  const helpers = buildHelpers();
  const chosen = choose(contenders(helpers), list(options.only));
  if (!canPin()) {
    console.error('Server and load share cores (no taskset, or one core): figures are not steady.');
  }
  const servers = [];
  try {
    await startAll(chosen, servers);
    for (const mode of modes) {
      const rows = await compare(servers, mode, helpers);
      if (options.json) {
        console.log(JSON.stringify({ mode, base: options.base, rows }));
      } else {
        printTable(mode, rows, options);
      }
    }
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
}

await runMain(main);
