// Hostile clients against a reactor: what they cost the others, and what is left of them.
// See bench/README.md.
//
//   node bench/abuse.mjs [--only slowloris,garbage,half-requests,full-rings,resets]
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { scenarios } from './abuse/scenarios.mjs';
import { fittingConnections } from './lib/descriptor-limit.mjs';
import { BENCH, startMoonring } from './lib/programs.mjs';
import { reactorPid } from './lib/reactor.mjs';

const { values } = parseArgs({ options: { only: { type: 'string', default: '' } } });

function chosen() {
  const names = values.only.split(',').filter(Boolean);
  const unknown = names.find((name) => !scenarios.some((one) => one.name === name));
  if (unknown !== undefined) {
    const known = scenarios.map(({ name }) => name).join(', ');
    throw new Error(`There is no scenario "${unknown}". There are: ${known}.`);
  }
  return names.length === 0 ? scenarios : scenarios.filter(({ name }) => names.includes(name));
}

/** The sizes of a scenario, as far as they fit on this machine. */
function fitting(sizes) {
  return sizes.count === undefined ? sizes : { ...sizes, count: fittingConnections(sizes.count) };
}

/** Runs one scenario against a server of its own; returns how many checks failed. */
async function runScenario({ name, sizes, options, run }) {
  console.log(`${name} ${JSON.stringify(sizes)}`);
  let failed = 0;
  const print = (text) => console.log(`        ${text}`);
  const check = (ok, text) => {
    if (!ok) failed++;
    console.log(`  ${ok ? 'ok  ' : 'FAIL'}  ${text}`);
  };
  const app = join(BENCH, 'abuse', 'victim.lua');
  const server = await startMoonring(app, {
    options: [...options, '--log-level', 'error'],
    cores: 'all',
  });
  try {
    const pid = reactorPid(server.pid);
    await run({ server: { port: server.port, reactorPid: pid }, check, print }, fitting(sizes));
    check(reactorPid(server.pid) === pid, 'it is the same reactor');
  } catch (error) {
    check(false, error.message);
  } finally {
    await server.stop();
  }
  return failed;
}

try {
  let failed = 0;
  for (const scenario of chosen()) failed += await runScenario(scenario);
  console.log(failed === 0 ? 'all passed' : `${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
