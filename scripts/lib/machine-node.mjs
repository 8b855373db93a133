import { copyFileSync, cpSync, realpathSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { mustInRoot } from './debian-root.mjs';
import { capture, must } from './run-command.mjs';

/*
 * What a Debian root borrows from this machine where its own release has nothing fitting: Node, npm
 * (plain JavaScript), and the way to npm's registry.
 */

/** The Node that runs this script; fails if the root's libraries are too old for it. */
export async function copyMachineNode(root) {
  copyFileSync(realpathSync(process.execPath), join(root, 'usr/local/bin/node'));
  await mustInRoot(root, ['node', '--version']);
}

export async function copyMachineNpm(root) {
  const { stdout } = await must('sh', ['-c', 'command -v npm']);
  const npm = dirname(dirname(realpathSync(stdout.trim())));
  cpSync(npm, join(root, 'usr/local/lib/npm'), { recursive: true, verbatimSymlinks: true });
  await mustInRoot(root, ['ln', '-s', '../lib/npm/bin/npm-cli.js', '/usr/local/bin/npm']);
}

/**
 * How this machine reaches npm's registry: variables for the commands that run inside, and a file
 * that `takeBack` removes, because the root itself must not hold it.
 */
export async function lendNetworkSettings(root) {
  const registry = (await capture('npm', ['config', 'get', 'registry'])).stdout.trim();
  const env = { npm_config_registry: registry };
  const authorities = process.env.NODE_EXTRA_CA_CERTS;
  const inside = '/run/lent-certificates.crt';
  if (authorities) {
    copyFileSync(authorities, join(root, inside));
    env.NODE_EXTRA_CA_CERTS = inside;
  }
  return { env, takeBack: () => rmSync(join(root, inside), { force: true }) };
}
