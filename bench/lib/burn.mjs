// How long apps/burn.lua burns on this machine.
import { join } from 'node:path';
import { ask } from './answer.mjs';
import { BENCH, startMoonring } from './programs.mjs';

export const BURN_APP = join(BENCH, 'apps', 'burn.lua');

/**
 * Measures how many rounds make a microsecond, on a server of its own, and returns a function from
 * microseconds to the path that burns so long, whichever thread does it.
 */
export async function burnPaths() {
  const server = await startMoonring(BURN_APP, { options: ['--dispatch', 'inline'] });
  try {
    const { body } = await ask(server.port, '/rounds-per-us');
    return (micros) => `/${Math.round(micros * Number(body))}`;
  } finally {
    await server.stop();
  }
}
