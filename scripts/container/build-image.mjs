import { cpSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';

import { ensureDebianRoot, mustInRoot } from '../lib/debian-root.mjs';
import { copyMachineNpm, lendNetworkSettings } from '../lib/machine-node.mjs';
import { say } from '../lib/progress.mjs';
import { root as sourceTree } from '../lib/root.mjs';
import { must } from '../lib/run-command.mjs';
import { SetupError } from '../lib/setup-error.mjs';
import { parseCopy, parseEnv, readDockerignore } from './dockerfile.mjs';

/**
 * Executes the stages of a Dockerfile, each in a root directory of its own below `work`.
 *
 * @param {import('./dockerfile.mjs').Stage[]} stages
 * @param {string} work
 * @returns {Promise<string>} the last stage's root directory
 */
export async function buildImage(stages, work) {
  const roots = new Map();
  let root = '';
  for (const [index, stage] of stages.entries()) {
    root = join(work, `stage-${index}`);
    rmSync(root, { recursive: true, force: true });
    await must('cp', ['-a', '--reflink=auto', await standIn(stage.base, work), root]);
    if (stage.name) roots.set(stage.name, root);
    await buildStage(stage, root, roots);
  }
  return root;
}

async function buildStage({ instructions }, root, roots) {
  const env = {};
  const lent = await lendNetworkSettings(root);
  let workdir = '/';
  for (const { keyword, text } of instructions) {
    if (keyword === 'ENV') Object.assign(env, parseEnv(text));
    if (keyword === 'WORKDIR') {
      workdir = resolve(workdir, text);
      mkdirSync(join(root, workdir), { recursive: true });
    }
    if (keyword === 'COPY') copy(parseCopy(text), root, workdir, roots);
    if (keyword === 'RUN') {
      say(`RUN ${text.replace(/\s+/g, ' ')}`);
      const settings = { ...env, ...lent.env };
      await mustInRoot(root, ['/bin/sh', '-c', text], { env: settings, workdir });
    }
  }
  lent.takeBack();
}

/** A folder's contents go into the target, a file goes to it, or into it if it ends in a slash. */
function copy({ from, sources, target }, root, workdir, roots) {
  if (from !== null && !roots.has(from)) throw new SetupError(`COPY --from=${from}: no such stage`);
  const top = from === null ? sourceTree : roots.get(from);
  const mayCopy = from === null ? contextFilter() : () => true;
  for (const source of sources) {
    const path = join(top, source);
    if (!mayCopy(path)) throw new SetupError(`COPY ${source}: .dockerignore keeps it out`);
    const place = join(root, resolve(workdir, target));
    const intoFolder = target.endsWith('/') && statSync(path).isFile();
    const destination = intoFolder ? join(place, basename(source)) : place;
    mkdirSync(dirname(destination), { recursive: true });
    cpSync(path, destination, { recursive: true, verbatimSymlinks: true, filter: mayCopy });
  }
}

function contextFilter() {
  const isSent = readDockerignore(readFileSync(join(sourceTree, '.dockerignore'), 'utf8'));
  return (path) => isSent(path.slice(sourceTree.length + 1));
}

/**
 * In place of the official image: Debian 13 with its own Node, this machine's npm (plain
 * JavaScript) and the user `node`.
 */
async function standIn(base, work) {
  if (!/^node:\d+-trixie-slim$/.test(base)) {
    throw new SetupError(`the container check has nothing to put in the place of ${base}`);
  }
  const directory = join(work, 'base');
  await ensureDebianRoot(directory, ['nodejs', 'ca-certificates'], { finish: addNpmAndUser });
  return directory;
}

async function addNpmAndUser(root) {
  await copyMachineNpm(root);
  await mustInRoot(root, ['useradd', '--uid', '1000', '--create-home', 'node']);
}
