import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { llhttpSourceFile, pinFile } from './llhttp-pin.mjs';
import { say } from './progress.mjs';
import { capture, must, mustWithRetry } from './run-command.mjs';
import { SetupError } from './setup-error.mjs';

const quietly = { LC_ALL: 'C.UTF-8', DEBIAN_FRONTEND: 'noninteractive' };

/**
 * Installs what `needs` name with apt-get: the lists are brought up to date once, then everything
 * in one transaction.
 *
 * @param {import('./system-needs.mjs').Need[]} needs
 * @param {{ release: number | null, codename: string }} platform
 * @param {string[]} privilege what to put before a command to run it as root
 */
export async function installWithApt(needs, platform, privilege) {
  if (needsLlhttpPin(needs, platform)) await pinLlhttp(platform, privilege);
  say('apt-get update');
  await mustWithRetry(...asRoot(privilege, ['apt-get', '-q', 'update']));
  const packages = [];
  for (const need of needs) packages.push(await firstAvailable(need.apt));
  say(`apt-get install ${packages.join(' ')}`);
  const install = ['apt-get', '-q', '-y', '--no-install-recommends', 'install', ...packages];
  await mustWithRetry(...asRoot(privilege, install));
}

/** Debian before 13 takes llhttp from Debian 13; every other release has its own. */
export function needsLlhttpPin(needs, { release }) {
  return release !== null && release < 13 && needs.some((need) => need.apt[0] === 'libllhttp-dev');
}

async function pinLlhttp({ codename }, privilege) {
  const source = llhttpSourceFile(codename);
  if (!source) {
    throw new SetupError(
      `no apt source of this machine names a Debian mirror for ${codename}, so libllhttp-dev ` +
        '(9.2 or newer) cannot be found. Install it by hand, or set LLHTTP_SOURCE_DIR to ' +
        "llhttp's generated C sources, and start again.",
    );
  }
  for (const { path, text } of [source, pinFile]) {
    if (readOrEmpty(path) === text) continue;
    say(`writing ${path}`);
    await writeAsRoot(path, text, privilege);
  }
}

async function writeAsRoot(path, text, privilege) {
  const directory = mkdtempSync(join(tmpdir(), 'moonring-'));
  try {
    const draft = join(directory, 'file');
    writeFileSync(draft, text);
    await must(...asRoot(privilege, ['install', '-m', '644', draft, path]));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/**
 * The first of the alternatives that apt could install; the first of all if it knows none, so that
 * apt says so.
 */
async function firstAvailable(alternatives) {
  if (alternatives.length === 1) return alternatives[0];
  for (const name of alternatives) {
    const { stdout } = await capture('apt-cache', ['policy', name], { env: quietly });
    if (/Candidate: (?!\(none\))/.test(stdout)) return name;
  }
  return alternatives[0];
}

/** sudo cleans the environment, so what apt has to know travels in the command itself. */
function asRoot(privilege, command) {
  const settings = Object.entries(quietly).map(([name, value]) => `${name}=${value}`);
  const [first, ...rest] = [...privilege, 'env', ...settings, ...command];
  return [first, rest];
}

function readOrEmpty(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
