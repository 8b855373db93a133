import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { say } from './progress.mjs';
import { root } from './root.mjs';
import { capture, must, mustWithRetry } from './run-command.mjs';
import { SetupError } from './setup-error.mjs';
import { hasCommand } from './system-needs.mjs';

/*
 * Installs Debian packages if no password is needed, and otherwise prints what to install.
 *
 * Debian 12 has no usable llhttp. Debian 13's two packages install on it unchanged (they need libc6
 * >= 2.3.4), so it gets Debian 13 as another apt source, and a pin of -1 on everything else there.
 */

const newer = 'trixie';
const llhttp = 'libllhttp-dev';
const pin = `Package: *
Pin: release n=${newer}
Pin-Priority: -1

Package: ${llhttp} libllhttp9.2
Pin: release n=${newer}
Pin-Priority: 500
`;
const quietly = ['env', 'LC_ALL=C.UTF-8', 'DEBIAN_FRONTEND=noninteractive'];
const install = ['apt-get', 'install', '-y', '--no-install-recommends'];

/** @param {readonly import('./system-needs.mjs').Need[]} needs */
export async function ensureSystemPackages(needs) {
  const missing = needs.filter((need) => !need.present());
  if (missing.length === 0) return;
  const system = readSystem();
  say(`missing on ${system.name}: ${listOf(missing)}`);
  if (!system.isDebian) throw new SetupError(withoutApt(missing));
  const privilege = await findPrivilege();
  if (privilege === null) throw new SetupError(rootNeeded(missing, system));
  await installWithApt(missing, system, privilege);
  const still = missing.filter((need) => !need.present());
  if (still.length > 0) {
    throw new SetupError(`the packages are installed, but cannot be found: ${listOf(still)}.`);
  }
}

async function installWithApt(needs, system, privilege) {
  // sudo clears the environment, so variables are passed on the command line.
  const asRoot = (command) => {
    const [first, ...rest] = [...privilege, ...quietly, ...command];
    return [first, rest];
  };
  if (needsPin(needs, system)) {
    const source = `deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${await aptMirror()} ${newer} main\n`;
    await writeAsRoot(`/etc/apt/sources.list.d/${newer}-llhttp.list`, source, asRoot);
    await writeAsRoot(`/etc/apt/preferences.d/${newer}-llhttp.pref`, pin, asRoot);
  }
  say('apt-get update');
  await mustWithRetry(...asRoot(['apt-get', '-q', 'update']));
  const packages = [];
  for (const { apt } of needs) packages.push(await firstAvailable(apt));
  say(`apt-get install ${packages.join(' ')}`);
  await mustWithRetry(...asRoot([...install, ...packages]));
}

async function writeAsRoot(path, text, asRoot) {
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return;
  say(`writing ${path}`);
  const directory = mkdtempSync(join(tmpdir(), 'moonring-'));
  try {
    writeFileSync(join(directory, 'file'), text);
    await must(...asRoot(['install', '-m', '644', join(directory, 'file'), path]));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** The Debian mirror used by this machine. */
export async function aptMirror() {
  const { codename } = readSystem();
  const { stdout } = await capture('apt-get', ['update', '--print-uris']);
  const mirror = new RegExp(`^'(\\S+?)/dists/${codename}/InRelease'`, 'm').exec(stdout)?.[1];
  if (mirror) return mirror;
  throw new SetupError(
    `no apt source of this machine names a Debian mirror for ${codename}, so ${llhttp} (9.2 or ` +
      "newer) cannot be found. Install it by hand, or set LLHTTP_SOURCE_DIR to llhttp's " +
      'generated C sources, and start again.',
  );
}

function needsPin(needs, { release }) {
  return release !== null && release < 13 && needs.some(({ apt }) => apt[0] === llhttp);
}

/** The first of the alternatives that apt knows; the first of all if it knows none. */
async function firstAvailable(alternatives) {
  for (const name of alternatives) {
    const { stdout } = await capture('apt-cache', ['policy', name], { env: { LC_ALL: 'C.UTF-8' } });
    if (/Candidate: (?!\(none\))/.test(stdout)) return name;
  }
  return alternatives[0];
}

/** The prefix to run a command as root without a password; null if there is none. */
async function findPrivilege() {
  if (process.getuid() === 0) return [];
  return (await capture('sudo', ['-n', 'true'])).code === 0 ? ['sudo', '-n'] : null;
}

/** The message for a user who is not root, with the one command to copy. */
export function rootNeeded(missing, system) {
  // apt-get accepts no alternatives: the release decides which name exists.
  const old = system.release !== null && system.release < 13;
  const packages = missing.map(({ apt }) => (old ? apt[0] : apt.at(-1))).join(' ');
  const sudo = hasCommand('sudo') ? 'sudo ' : '';
  const intro =
    `these Debian packages are missing and only root can install them: ${packages}. ` +
    'Run this as root and then start again:\n';
  if (!needsPin(missing, system)) {
    return `${intro}  ${sudo}apt-get update && ${sudo}${install.join(' ')} ${packages}`;
  }
  const script = join(root, 'scripts', 'install-system-packages.mjs');
  return (
    `${intro}  ${sudo}${process.execPath} ${script}\n` +
    `It installs them and what the tests use. ${llhttp} has to come from Debian 13, so it adds an ` +
    'apt source, and a pin that hides everything else there.'
  );
}

function withoutApt(missing) {
  const what = missing.map((need) => `${need.what} (Debian: ${need.apt.at(-1)})`).join(', ');
  return `packages are installed on Debian and Ubuntu only. Install these and start again: ${what}.`;
}

/** `release` is the number of the Debian release, null for anything else. */
function readSystem() {
  const os = {};
  const text = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
  for (const [, name, value] of text.matchAll(/^([A-Z_]+)="?(.*?)"?$/gm)) os[name] = value;
  return {
    isDebian: [os.ID, ...(os.ID_LIKE ?? '').split(' ')].includes('debian'),
    name: os.PRETTY_NAME ?? process.platform,
    release: os.ID === 'debian' ? Number.parseInt(os.VERSION_ID ?? '', 10) || null : null,
    codename: os.VERSION_CODENAME ?? '',
  };
}

const listOf = (needs) => needs.map((need) => need.what).join(', ');
