import { spawn } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';

import {
  captureInRoot,
  chrooted,
  ensureDebianRoot,
  mustInRoot,
  namespacesFor,
} from '../lib/debian-root.mjs';
import { copyMachineNode, copyMachineNpm, lendNetworkSettings } from '../lib/machine-node.mjs';
import { root as sourceTree } from '../lib/root.mjs';
import { must, quoted } from '../lib/run-command.mjs';

/*
 * A machine as a newcomer has it: Debian with Node, npm, git and curl, nothing else, and a fresh
 * clone of what is committed here. It is a root directory that shares the kernel and, where asked,
 * the network of this machine.
 *
 * Debian 13 has its own Node (20) and npm. Debian 12's Node (18) is too old, so it gets this
 * machine's, as its users get one from somewhere else.
 */

const plain = ['ca-certificates', 'git', 'curl'];
const bases = {
  12: {
    packages: plain,
    finish: async (root) => {
      await copyMachineNode(root);
      await copyMachineNpm(root);
    },
  },
  13: { packages: [...plain, 'nodejs', 'npm'] },
};

const origin = '/srv/moonring.git';
const people = {
  root: { user: '0:0', home: '/srv/root' },
  newcomer: { user: '1000:1000', home: '/srv/newcomer' },
};

/**
 * @typedef {object} Machine
 * @property {string} clone where its user's clone lies, seen from inside
 * @property {(line: string, options?: Options) => Promise<{ code: number, output: string }>} type
 *   one line in the clone
 * @property {(line: string, options?: Options) => Terminal} open the same, for a line that stays
 * @property {(line: string) => Promise<{ code: number, output: string }>} typeAsRoot elsewhere
 * @property {() => Promise<void>} remove ends what is still open in it, too
 *
 * @typedef {object} Options
 * @property {Record<string, string>} [env]
 * @property {import('../lib/debian-root.mjs').InsideOptions['network']} [network]
 */

/**
 * A machine on which nobody has done anything yet but clone.
 *
 * @param {12 | 13} release
 * @param {'root' | 'newcomer'} who uses it; the latter is an ordinary user without sudo
 * @param {string} work keeps what every machine of the release begins with
 * @returns {Promise<Machine>}
 */
export async function newMachine(release, who, work) {
  const base = join(work, `debian-${release}`);
  const { packages, finish } = bases[release];
  await ensureDebianRoot(base, packages, { release, finish });
  const root = join(work, `debian-${release}-${who}`);
  rmSync(root, { recursive: true, force: true });
  await must('cp', ['-a', '--reflink=auto', base, root]);
  const { user, home } = people[who];
  const create = ['useradd', '--uid', '1000', '--home-dir', people.newcomer.home];
  await mustInRoot(root, [...create, '--create-home', 'newcomer']);
  mkdirSync(join(root, people.root.home));

  const lent = await lendNetworkSettings(root);
  const clone = `${home}/moonring`;
  await must('git', ['clone', '--quiet', '--bare', sourceTree, join(root, origin)]);
  await must('chown', ['-R', user, join(root, origin)]);
  const settingsFor = (person, workdir, { env = {}, network }) => ({
    env: { HOME: person.home, TERM: 'xterm', ...lent.env, ...env },
    user: person.user,
    workdir,
    network,
  });
  const inClone = (options = {}) => settingsFor(people[who], clone, options);
  await mustInRoot(root, ['git', 'clone', '--quiet', origin, clone], {
    ...inClone(),
    workdir: home,
  });
  const terminals = [];
  return {
    clone,
    type: (line, options) => captureInRoot(root, ['sh', '-c', line], inClone(options)),
    open: (line, options) => {
      const terminal = openTerminal(root, line, inClone(options));
      terminals.push(terminal);
      return terminal;
    },
    typeAsRoot: (line) =>
      captureInRoot(root, ['sh', '-c', line], settingsFor(people.root, people.root.home, {})),
    remove: async () => {
      for (const terminal of terminals) terminal.kill();
      await Promise.all(terminals.map(({ exited }) => exited));
      rmSync(root, { recursive: true, force: true });
    },
  };
}

/**
 * Runs one line at a terminal, so that it says what a person would see, and gets Ctrl-C as it gets
 * it from one: the kernel signals everything in the foreground.
 *
 * @typedef {ReturnType<typeof openTerminal>} Terminal
 */
function openTerminal(root, line, options) {
  const inside = chrooted(root, ['sh', '-c', `exec ${line}`], options);
  const terminal = ['script', '-q', '-e', '-f', '-E', 'never'];
  const [first, ...rest] = [
    ...namespacesFor(root, options),
    // script never gets over the end of a child that is not its own: a shell is PID 1 instead.
    ...['sh', '-c', '"$@"; exit $?', 'sh'],
    // Nor may a shell stay between the terminal and the line: Ctrl-C would end that one.
    ...[...terminal, '-c', `exec ${inside.map(quoted).join(' ')}`, '/dev/null'],
  ];
  const child = spawn(first, rest, {
    env: { ...process.env, SHELL: '/bin/sh' },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let text = '';
  let wake = () => {};
  const hear = (chunk) => {
    text += stripVTControlCharacters(chunk).replaceAll('\r', '');
    wake();
  };
  child.stdout.setEncoding('utf8').on('data', hear);
  child.stderr.setEncoding('utf8').on('data', hear);
  // One that has ended reads no more keys.
  child.stdin.on('error', () => {});
  let over = false;
  const exited = new Promise((resolve) => {
    child.on('close', (code, signal) => {
      over = true;
      wake();
      resolve({ code, signal });
    });
  });
  return {
    /** Its network is the one to ask it in. */
    pid: child.pid,
    exited,
    text: () => text,
    /** Rejects if it ends without having said so. */
    said: async (pattern) => {
      while (!pattern.test(text)) {
        if (over) throw new Error(`it ended before it said ${pattern}:\n${text}`);
        await new Promise((resolve) => {
          wake = resolve;
        });
      }
    },
    pressCtrlC: () => child.stdin.write('\x03'),
    kill: () => child.kill('SIGKILL'),
  };
}
