import { copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Skipped } from './checks.mjs';
import { say } from './progress.mjs';
import { capture, must, mustWithRetry } from './run-command.mjs';
import { hasCommand } from './system-needs.mjs';
import { aptMirror, ensureSystemPackages } from './system-packages.mjs';

/*
 * Clean machines: containers of docker, or of podman as root with a separate store. If no image
 * registry can be reached, a Debian made by debootstrap replaces the image.
 */

const suites = { 12: 'bookworm', 13: 'trixie' };
const work = join(tmpdir(), 'moonring-machines');
const need = (name, path = '') => ({
  what: name,
  present: () => hasCommand(name) || existsSync(path),
  apt: [name],
});

/** Also allowed in an unprivileged sandbox. */
const podmanSettings = `[containers]
default_ulimits = ["nofile=10000:10000", "nproc=10000:10000"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
`;

/** @returns {Promise<Engine>} rejects with Skipped if there is none */
export async function findEngine() {
  if (process.platform !== 'linux') throw new Skipped('it needs Linux');
  mkdirSync(work, { recursive: true });
  if ((await capture('docker', ['info'])).code === 0) return new Engine(['docker']);
  if (process.getuid() !== 0) throw new Skipped('it needs docker, or root for podman');
  await ensureSystemPackages([need('podman'), need('runc', '/usr/sbin/runc')]);
  const settings = join(work, 'containers.conf');
  writeFileSync(settings, podmanSettings);
  const store = ['--root', join(work, 'store'), '--storage-driver', 'overlay'];
  const engine = new Engine(['podman', ...store], { CONTAINERS_CONF: settings });
  const npm = await npmVolumes();
  engine.networkOptions = (home) => ['--network', 'host', ...npm(home)];
  engine.buildOptions = ['--isolation', 'chroot', ...engine.networkOptions('/root')];
  return engine;
}

/** This machine's npm registry and certificates, for npm inside. */
async function npmVolumes() {
  const registry = (await capture('npm', ['config', 'get', 'registry'])).stdout.trim();
  const certificates = process.env.NODE_EXTRA_CA_CERTS;
  const npmrc = join(work, 'npmrc');
  const lines = [`registry=${registry}`, ...(certificates ? ['cafile=/etc/npm-ca.crt'] : [])];
  writeFileSync(npmrc, `${lines.join('\n')}\n`);
  const volumes = certificates ? ['--volume', `${certificates}:/etc/npm-ca.crt:ro`] : [];
  return (home) => [...volumes, '--volume', `${npmrc}:${home}/.npmrc:ro`];
}

class Engine {
  #command;
  #env;
  /** Options for a container whose user uses the network, and npm. */
  networkOptions = (_home) => [];
  buildOptions = [];

  constructor(command, env = {}) {
    this.#command = command;
    this.#env = env;
  }

  /** Never rejects; see capture. */
  run(args, options = {}) {
    const [first, ...rest] = [...this.#command, ...args];
    return capture(first, rest, { ...options, env: this.#env });
  }

  must(args) {
    const [first, ...rest] = [...this.#command, ...args];
    return must(first, rest, { env: this.#env });
  }

  /** An image from a Dockerfile in `directory`. */
  async build(name, directory) {
    say(`building the image ${name}`);
    const [first, ...rest] = [...this.#command, 'build', ...this.buildOptions, '--tag', name];
    await mustWithRetry(first, [...rest, directory], { env: this.#env });
  }

  /** An image from the text of a Dockerfile and files placed next to it. */
  async buildFrom(name, dockerfile, files = {}) {
    const directory = join(work, 'context');
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(directory);
    writeFileSync(join(directory, 'Dockerfile'), dockerfile);
    for (const [to, from] of Object.entries(files)) copyFileSync(from, join(directory, to));
    await this.build(name, directory);
  }

  async has(name) {
    return (await this.run(['image', 'inspect', name])).code === 0;
  }

  /** Ensures that the image exists: from its registry, or with `standIn`. */
  async ensureImage(name, standIn) {
    if (await this.has(name)) return;
    if ((await this.run(['pull', name], { timeoutMs: 120_000 })).code !== 0) await standIn();
  }

  /** @returns {Promise<string>} the name of an image of Debian 12 or 13 */
  async debian(release) {
    const suite = suites[release];
    const name = `docker.io/library/debian:${suite}-slim`;
    await this.ensureImage(name, async () => {
      await ensureSystemPackages([need('debootstrap', '/usr/sbin/debootstrap')]);
      const root = join(work, suite);
      rmSync(root, { recursive: true, force: true });
      say(`debootstrap ${suite}`);
      await mustWithRetry('debootstrap', ['--variant=minbase', suite, root, await aptMirror()]);
      await must('tar', ['-C', root, '-cf', `${root}.tar`, '.']);
      await this.must(['import', `${root}.tar`, name]);
      rmSync(root, { recursive: true });
      rmSync(`${root}.tar`);
    });
    return name;
  }

  /** Starts a container; `remove` ends it. */
  async start(args) {
    const { stdout } = await this.must(['run', '--detach', ...args]);
    const id = stdout.trim().split('\n').at(-1);
    return {
      id,
      exec: (words, options = []) => this.run(['exec', ...options, id, ...words]),
      logs: async () => (await this.run(['logs', id])).output,
      signal: (name) => this.must(['kill', '--signal', name, id]),
      exitCode: async () => Number((await this.must(['wait', id])).stdout),
      remove: () => this.run(['rm', '--force', id]),
      command: [...this.#command, 'exec', '--interactive', id],
      env: this.#env,
    };
  }
}
