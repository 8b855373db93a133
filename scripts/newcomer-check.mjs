/*
 * Proves that a stranger can follow README.md: makes a Debian 12 and a Debian 13 that hold nothing
 * but Node, npm, git and curl, clones what is committed here into them, and types README's own
 * lines, twice. Then the same as a user who is not root. Needs Linux, root and a Debian mirror;
 * says so if it cannot.
 *
 *     node scripts/newcomer-check.mjs [--debian 12|13] [--suites "includes unit" | --all] [directory]
 *
 * The whole `npm test` would take an hour here, so `--suites` says what of it to run, and `--all`
 * leaves the line as it stands. The directory (a folder of the system's temporary one) keeps the
 * bare machines for the next time.
 */
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

import { runChecks } from './lib/check-list.mjs';
import { root } from './lib/root.mjs';
import { runRootCheck } from './lib/root-check.mjs';
import {
  firstRound,
  handlerChecks,
  secondRound,
  startChecks,
  testChecks,
  userChecks,
} from './newcomer/checks.mjs';
import { newMachine } from './newcomer/machine.mjs';
import { readWalk } from './newcomer/readme-commands.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    debian: { type: 'string', multiple: true, default: ['12', '13'] },
    suites: { type: 'string', default: 'includes unit' },
    all: { type: 'boolean', default: false },
  },
});
const work = resolve(positionals[0] ?? join(tmpdir(), 'moonring-newcomer'));
const suites = values.all ? [] : values.suites.split(/[ ,]+/).filter(Boolean);

await runRootCheck(work, async (verdict) => {
  const lines = readWalk(readFileSync(join(root, 'README.md'), 'utf8'));
  for (const release of values.debian.map(Number)) {
    process.stdout.write(`Debian ${release}, as root\n`);
    await withMachine(release, 'root', async (machine) => {
      for (const round of [await firstRound(lines), secondRound(lines)]) {
        await runChecks(verdict, startChecks(machine, round));
        await runChecks(verdict, handlerChecks(machine, round));
        await runChecks(verdict, testChecks(machine, round, suites));
      }
    });
    process.stdout.write(`Debian ${release}, as a user without sudo\n`);
    await withMachine(release, 'newcomer', async (machine) => {
      await runChecks(verdict, userChecks(machine, lines, ['includes']));
      const round = { ...(await firstRound(lines)), name: 'without root' };
      await runChecks(verdict, startChecks(machine, round));
      await runChecks(verdict, testChecks(machine, round, ['includes']));
    });
  }
});

async function withMachine(release, who, use) {
  const machine = await newMachine(release, who, work);
  try {
    await use(machine);
  } finally {
    await machine.remove();
  }
}
