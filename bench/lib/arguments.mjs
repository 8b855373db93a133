// What the programs do alike with their command line and their end.
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from './programs.mjs';

/** The items of `a,b,c`. */
export function list(text) {
  return text.split(',').filter((item) => item !== '');
}

/**
 * Of `all`, those whose name is one of `names` or begins with one and a dash; all of them without
 * names. A name that chooses nothing is an error.
 */
export function choose(all, names) {
  if (names.length === 0) {
    return all;
  }
  const fits = (one, name) => one.name === name || one.name.startsWith(`${name}-`);
  const unknown = names.filter((name) => !all.some((one) => fits(one, name)));
  if (unknown.length > 0) {
    const known = all.map((one) => one.name).join(', ');
    throw new Error(`Nothing is called ${unknown.join(', ')}. There are: ${known}.`);
  }
  return all.filter((one) => names.some((name) => fits(one, name)));
}

/** The options of the programs that look into one loaded reactor: an app, a path and a load. */
export function readInspection() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seconds: { type: 'string', default: '2' },
      connections: { type: 'string', default: '64' },
      depth: { type: 'string', default: '1' },
      path: { type: 'string', default: '/' },
      json: { type: 'boolean', default: false },
    },
  });
  return {
    app: positionals[0] ?? join(ROOT, 'examples', 'hello.lua'),
    path: values.path,
    json: values.json,
    load: {
      seconds: Number(values.seconds),
      connections: Number(values.connections),
      depth: Number(values.depth),
    },
  };
}

/** Runs the program; an error becomes one sentence and exit code 1. */
export async function runMain(main) {
  try {
    await main();
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
