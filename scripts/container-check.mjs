/*
 * Proves the Dockerfile where no container engine is at hand: executes its steps in a Debian 13
 * root made by debootstrap, runs the entrypoint as PID 1 of its own namespaces, and checks health,
 * signals, reaping and exit codes. Needs Linux, root and a Debian mirror; says so if it cannot.
 *
 *     node scripts/container-check.mjs [--keep] [directory]
 *
 * The directory (a folder of the system's temporary one) keeps the base for the next time. --keep
 * runs the image that is there, without building.
 */
import { existsSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { buildImage } from './container/build-image.mjs';
import { exitChecks, imageChecks, liveChecks } from './container/checks.mjs';
import { startContainer } from './container/container.mjs';
import { imageConfig, parseDockerfile } from './container/dockerfile.mjs';
import { optionChecks } from './container/option-checks.mjs';
import { runChecks } from './lib/check-list.mjs';
import { root } from './lib/root.mjs';
import { runRootCheck } from './lib/root-check.mjs';

const args = process.argv.slice(2);
const keep = args.includes('--keep');
const named = args.find((word) => word !== '--keep');
const work = resolve(named ?? join(tmpdir(), 'moonring-container'));

await runRootCheck(work, async (verdict) => {
  const stages = parseDockerfile(readFileSync(join(root, 'Dockerfile'), 'utf8'));
  const built = join(work, `stage-${stages.length - 1}`);
  const image = {
    root: keep && existsSync(built) ? built : await buildImage(stages, work),
    config: imageConfig(stages.at(-1)),
  };
  await runChecks(verdict, imageChecks, { image });
  const container = startContainer(image);
  try {
    await container.logLine('ready');
    await runChecks(verdict, liveChecks, { image, container });
  } finally {
    container.kill();
    await container.exited;
  }
  await runChecks(verdict, optionChecks, { image });
  await runChecks(verdict, exitChecks, { image });
});
