import { join } from 'node:path';

import { installWithApt, needsLlhttpPin } from './apt.mjs';
import { hasCommand } from './find-file.mjs';
import { detectPlatform } from './platform.mjs';
import { findPrivilege } from './privilege.mjs';
import { say } from './progress.mjs';
import { root } from './root.mjs';
import { mustWithRetry } from './run-command.mjs';
import { SetupError } from './setup-error.mjs';

/**
 * Makes sure that everything `needs` name is on this machine: installs it where that asks no
 * question, and otherwise says what to install.
 *
 * @param {readonly import('./system-needs.mjs').Need[]} needs
 */
export async function ensureSystemPackages(needs) {
  const missing = needs.filter((need) => !need.present());
  if (missing.length === 0) return;
  const platform = detectPlatform();
  say(`missing on ${platform.name}: ${listOf(missing)}`);
  if (platform.packager === 'apt') await withApt(missing, platform);
  else if (platform.packager === 'brew') await withHomebrew(missing);
  else throw new SetupError(withoutPackager(missing));

  const still = missing.filter((need) => !need.present());
  if (still.length > 0) {
    throw new SetupError(`the packages are installed, but cannot be found: ${listOf(still)}.`);
  }
}

async function withApt(missing, platform) {
  const privilege = await findPrivilege();
  if (privilege === null) throw new SetupError(rootNeeded(missing, platform));
  await installWithApt(missing, platform, privilege);
}

/** The sentence for a user who is not root, with the commands to copy. */
export function rootNeeded(missing, platform) {
  const packages = missing.map((need) => packageFor(need, platform)).join(' ');
  const sudo = hasCommand('sudo') ? 'sudo ' : '';
  const sentence =
    `these Debian packages are missing and only root can install them: ${packages}. ` +
    'Run this as root and then start again:\n';
  if (!needsLlhttpPin(missing, platform)) {
    const install = 'apt-get install -y --no-install-recommends';
    return `${sentence}  ${sudo}apt-get update && ${sudo}${install} ${packages}`;
  }
  const script = join(root, 'scripts', 'install-system-packages.mjs');
  return (
    `${sentence}  ${sudo}${process.execPath} ${script}\n` +
    'It installs them and what the tests use (curl, wrk, clang-format). libllhttp-dev has to ' +
    'come from Debian 13, so it adds an apt source, and a pin that hides all else in there.'
  );
}

/** apt-get takes no alternatives: the release decides which name exists. */
function packageFor(need, { release }) {
  return release !== null && release < 13 ? need.apt[0] : need.apt.at(-1);
}

async function withHomebrew(missing) {
  const byHand = missing.filter((need) => need.brew === null);
  if (byHand.length > 0) {
    throw new SetupError(
      `missing: ${listOf(byHand)}. Run "xcode-select --install" and start again ` +
        '(macOS is best effort).',
    );
  }
  const formulae = missing.map((need) => need.brew);
  if (!hasCommand('brew')) {
    throw new SetupError(
      `install Homebrew, then run "brew install ${formulae.join(' ')}" and start again ` +
        '(macOS is best effort).',
    );
  }
  say(`brew install ${formulae.join(' ')} (macOS is best effort)`);
  await mustWithRetry('brew', ['install', ...formulae]);
}

function withoutPackager(missing) {
  const list = missing.map((need) => `${need.what} (Debian: ${need.apt.at(-1)})`).join(', ');
  return (
    `set-up knows no package manager for this system. Install these with yours and start again: ` +
    `${list}.`
  );
}

function listOf(needs) {
  return needs.map((need) => need.what).join(', ');
}
