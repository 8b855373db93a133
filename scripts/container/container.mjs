import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { quoted } from '../lib/run-command.mjs';

/*
 * Runs an image's entrypoint as a container engine would: PID 1 of its own namespaces (processes,
 * mounts, network with nothing but loopback), on a read-only root, as the image's user, without
 * capabilities and with no way to get any.
 */

const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const patienceMs = 20_000;
const client = fileURLToPath(new URL('slow-client.mjs', import.meta.url));

const enter = `
set -e
ip link set lo up
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
mount -t proc proc "$1/proc"
`;
const start = 'exec chroot "$@"\n';

/**
 * @param {{ root: string, config: ReturnType<import('./dockerfile.mjs').imageConfig> }} image
 * @param {{ args?: string[], env?: Record<string, string>, volumes?: Record<string, string> }}
 *   [options] what follows the image's name on an engine's command line, its -e, and its -v: for
 *   each path inside a folder of this machine, which can be read there
 */
export function startContainer({ root, config }, { args = [], env = {}, volumes = {} } = {}) {
  const inside = insideCommand({ root, config }, env);
  const script = [enter, ...mountsOf(root, volumes), start].join('');
  const command = ['sh', '-c', script, 'sh', root, ...inside, ...config.entrypoint, ...args];
  const namespaces = ['--fork', '--kill-child', '--pid', '--mount', '--net', '--ipc', '--uts'];
  const child = spawn('unshare', [...namespaces, ...command], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const lines = [];
  const waiting = new Set();
  const heard = (line) => {
    lines.push(line);
    for (const wake of waiting) wake();
  };
  createInterface({ input: child.stdout }).on('line', heard);
  createInterface({ input: child.stderr }).on('line', heard);
  const exited = new Promise((done) => {
    child.on('close', (code, signal) => done({ code, signal }));
  });
  exited.then(() => {
    for (const wake of waiting) wake();
  });
  const container = {
    /** The number outside of what is 1 inside. */
    get init() {
      return childrenOf(child.pid)[0];
    },
    lines,
    exited,
    signal: (name) => process.kill(container.init, name),
    // The entrypoint has another user than unshare, so the latter's end is no signal to it.
    kill: () => {
      for (const pid of childrenOf(child.pid)) process.kill(pid, 'SIGKILL');
      child.kill('SIGKILL');
    },
    /** Waits for a log line; rejects if the container ends before. */
    logLine: (message) =>
      eventually(`the line "${message}"`, waiting, exited, lines, () =>
        lines.find((line) => line.includes(`"msg":"${message}"`)),
      ),
    /** Runs a command inside, as the user, as an engine's `exec` does. */
    exec: (words) => {
      const target = ['--target', String(container.init)];
      const spaces = ['--mount', '--pid', '--net', '--root', '--wd=/'];
      const all = [...target, ...spaces, ...inside, ...words];
      return spawnSync('nsenter', all, { encoding: 'utf8', timeout: patienceMs });
    },
    processes: () => processesIn(container.init),
    get: (url) => getInside(container.init, url),
    slowRequest: (port) => startSlowRequest(container.init, port),
  };
  return container;
}

/** Like an engine, makes the folders to mount on; the root is still writable here. */
function mountsOf(root, volumes) {
  return Object.entries(volumes).map(([path, folder]) => {
    const place = join(root, path);
    mkdirSync(place, { recursive: true });
    const [from, to] = [folder, place].map(quoted);
    return `mount --bind ${from} ${to}\nmount -o remount,bind,ro ${to}\n`;
  });
}

/** Runs the image until it ends by itself. */
export async function runContainer(image, options) {
  const container = startContainer(image, options);
  const timer = setTimeout(container.kill, patienceMs);
  const { code, signal } = await container.exited;
  clearTimeout(timer);
  return { code, signal, text: container.lines.join('\n') };
}

/** Everything that is alive or a zombie in the process namespace of `pid`, itself first. */
function processesIn(pid) {
  const space = readlinkSync(`/proc/${pid}/ns/pid`);
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const status = readFileSync(`/proc/${name}/status`, 'utf8');
        const field = (key) => new RegExp(`^${key}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? '';
        // A zombie's namespaces can no longer be read, but its number in there can.
        const numbers = field('NSpid').split('\t');
        const zombie = field('State').startsWith('Z');
        const same = zombie
          ? numbers.length > 1 && isBelow(Number(name), pid)
          : readlinkSync(`/proc/${name}/ns/pid`) === space;
        return same ? [{ pid: Number(name), inner: Number(numbers.at(-1)), zombie, field }] : [];
      } catch {
        return [];
      }
    })
    .sort((a, b) => a.inner - b.inner);
}

function isBelow(pid, ancestor) {
  for (let current = pid; current > 1; ) {
    if (current === ancestor) return true;
    current = Number(/^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${current}/status`, 'utf8'))?.[1]);
  }
  return false;
}

/** What stands before a command that runs inside: the user, no capabilities, the variables. */
function insideCommand({ root, config }, env) {
  const { uid, gid } = identityOf(root, config.user);
  const settings = { PATH: path, ...config.env, ...env };
  return [
    ...['setpriv', '--reuid', uid, '--regid', gid, '--clear-groups'],
    ...['--inh-caps=-all', '--bounding-set=-all', '--no-new-privs'],
    ...['env', '-i', `--chdir=${config.workdir}`],
    ...Object.entries(settings).map(([name, value]) => `${name}=${value}`),
  ];
}

/** The numbers of a user that the image names. */
function identityOf(root, name) {
  const lines = readFileSync(join(root, 'etc/passwd'), 'utf8').split('\n');
  const fields = lines.map((line) => line.split(':')).find(([user]) => user === name);
  if (!fields) throw new Error(`the image has no user ${name}`);
  return { uid: fields[2], gid: fields[3] };
}

function getInside(init, url) {
  const words = ['--target', String(init), '--net', 'curl', '-s', '-S', '-i', '-m', '5', url];
  return spawnSync('nsenter', words, { encoding: 'utf8' }).stdout;
}

/**
 * A request whose second half is sent when `finish` is called; it resolves to what came back.
 * `idleClosed` says that the server has begun to drain, in all of its reactors.
 */
async function startSlowRequest(init, port) {
  const words = ['--target', String(init), '--net', process.execPath, client, String(port)];
  const child = spawn('nsenter', words, { stdio: ['pipe', 'pipe', 'inherit'] });
  let text = '';
  const closed = new Promise((resolve) => child.once('close', resolve));
  const said = (line) =>
    Promise.race([
      closed,
      new Promise((resolve) => {
        child.stdout.on('data', () => {
          if (text.includes(`${line}\n`)) resolve();
        });
      }),
    ]);
  child.stdout.setEncoding('utf8').on('data', (chunk) => {
    text += chunk;
  });
  const idleClosed = said('idle closed');
  await said('half');
  return {
    idleClosed,
    finish: async () => {
      child.stdin.end('go\n');
      await closed;
      return text;
    },
  };
}

/** None of a process that has ended. */
function childrenOf(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
    return text.trim().split(' ').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

async function eventually(what, waiting, exited, lines, probe) {
  const deadline = performance.now() + patienceMs;
  let over = false;
  exited.then(() => {
    over = true;
  });
  for (;;) {
    const found = probe();
    if (found) return found;
    if (over || performance.now() > deadline) {
      throw new Error(`${what} never came:\n${lines.join('\n')}`);
    }
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, 200);
      const wake = () => {
        clearTimeout(timer);
        waiting.delete(wake);
        resolve();
      };
      waiting.add(wake);
    });
  }
}
