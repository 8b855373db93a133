import { createServer } from 'node:net';

import { expect } from '../lib/check-list.mjs';
import { portOf, promisedStatus, startsServer, withPorts } from './readme-commands.mjs';

/*
 * What a newcomer does with README.md, line by line. The first time everything is installed, so
 * the machine's network is shared and the ports are free ones in the place of README's. The second
 * time the lines are typed as they stand, in a network with nothing but loopback: whatever would
 * still be fetched then would fail.
 */

/** A fresh clone is set up in minutes; one that is set up starts in seconds. */
const installPatienceMs = 20 * 60_000;
const secondStartMs = 15_000;
const endMs = 5_000;
const ready = /: ready /;
/** Set-up speaks only where it does something. */
const setUpNews = /^moonring: .*$/m;

/** @typedef {{ name: string, lines: import('./readme-commands.mjs').Walk, ports: Record<string,
 *   number>, env: Record<string, string>, network: 'shared' | 'own', installs: boolean }} Round */

/** @returns {Promise<Round>} */
export async function firstRound(lines) {
  const named = lines.handler.filter(startsServer).map(({ line }) => portOf(line));
  const [port, admin, ...others] = await freePorts(2 + named.length);
  const ports = { ...Object.fromEntries(named.map((name, i) => [name, others[i]])), 8080: port };
  const env = { MOONRING_PORT: String(port), MOONRING_ADMIN: `127.0.0.1:${admin}` };
  return { name: 'first time', lines, ports, env, network: 'shared', installs: true };
}

/** @returns {Round} */
export function secondRound(lines) {
  return {
    name: 'second time, offline',
    lines,
    ports: {},
    env: {},
    network: 'own',
    installs: false,
  };
}

/**
 * `npm start`, the requests and Ctrl-C.
 *
 * @param {import('./machine.mjs').Machine} machine
 * @param {Round} round
 */
export function startChecks(machine, round) {
  const { lines, installs } = round;
  const about = (what) => `${round.name}: ${what}`;
  let terminal = null;
  return [
    {
      name: about(`${lines.start} serves${installs ? '' : ' at once, and does nothing else'}`),
      patienceMs: installPatienceMs,
      run: async () => {
        const startedAt = performance.now();
        terminal = machine.open(lines.start, round);
        await terminal.said(ready);
        const tookMs = performance.now() - startedAt;
        if (!installs) {
          const news = setUpNews.exec(terminal.text());
          expect(news === null, `it did work that was done already: ${news?.[0]}`);
          expect(tookMs < secondStartMs, `it took ${seconds(tookMs)}`);
        }
        return `ready after ${seconds(tookMs)}`;
      },
    },
    ...lines.requests.map((request) => ({
      name: about(`${request.line} is answered with ${promisedStatus(request)}`),
      run: () => askFor(machine, round, terminal, request),
    })),
    { name: about('Ctrl-C ends it with 0'), run: () => endByCtrlC(terminal) },
  ];
}

/** The section about a handler: servers that are tried and stopped, and lines that just end. */
export function handlerChecks(machine, round) {
  return round.lines.handler.map((command) => {
    const [shown] = command.line.split('\n');
    return startsServer(command)
      ? {
          name: `${round.name}: ${shown} serves, and Ctrl-C ends it with 0`,
          run: () => serveAndEnd(machine, round, command.line),
        }
      : {
          name: `${round.name}: ${shown} ends with 0`,
          run: async () => {
            const { code, output } = await machine.type(command.line, round);
            expect(code === 0, `code ${code}:\n${output}`);
          },
        };
  });
}

async function serveAndEnd(machine, round, line) {
  const env = { ...round.env, MOONRING_ADMIN: 'off' };
  const terminal = machine.open(withPorts(line, round.ports), { ...round, env });
  try {
    await terminal.said(ready);
    const request = { line: `curl -i localhost:${portOf(line)}/`, comment: '' };
    await askFor(machine, round, terminal, request);
    return await endByCtrlC(terminal);
  } finally {
    terminal.kill();
  }
}

/** @param {string[]} suites none for all of them */
export function testChecks(machine, round, suites) {
  const line = testLine(round.lines, suites);
  return [
    {
      name: `${round.name}: ${line} passes`,
      patienceMs: installPatienceMs,
      run: async () => {
        const startedAt = performance.now();
        const { code, output } = await machine.type(line, round);
        const counts = /^\d+ passed, \d+ failed$/m.exec(output)?.[0];
        expect(code === 0 && counts, `code ${code}:\n${output}`);
        const news = setUpNews.exec(output);
        expect(round.installs || news === null, `it did work again: ${news?.[0]}`);
        return `${counts} in ${seconds(performance.now() - startedAt)}`;
      },
    },
    {
      name: `${round.name}: git sees no file in the clone that README does not make`,
      run: async () => {
        const { code, output } = await machine.type('git status --porcelain');
        const typed = round.lines.handler.map(({ line }) => line).join('\n');
        const strange = output.split('\n').filter((text) => {
          const made = /^\?\? (\S+)$/.exec(text)?.[1];
          return text !== '' && !(made && typed.includes(`> ${made}`));
        });
        expect(code === 0 && strange.length === 0, output);
      },
    },
  ];
}

export function testLine(lines, suites) {
  return suites.length > 0 ? `${lines.test} -- ${suites.join(' ')}` : lines.test;
}

/**
 * A user who is not root and has no sudo: each command says what root has to do, in one command
 * and without having begun anything, and works once root has done it.
 */
export function userChecks(machine, lines, suites) {
  return [lines.start, testLine(lines, suites)].flatMap((line) => {
    let command = null;
    return [
      {
        name: `without root: ${line} asks for one command, or for none`,
        patienceMs: installPatienceMs,
        run: async () => {
          const first = line === lines.start;
          const { code, output } = first
            ? await machine.type(line)
            : await machine.type(`timeout 600 ${line}`);
          if (!first && code === 0) return 'for none';
          command = commandForRoot(output);
          expect(code !== 0 && code !== 124, `code ${code}:\n${output}`);
          return command;
        },
      },
      {
        name: `without root: root's command before ${line} ends with 0`,
        patienceMs: installPatienceMs,
        run: async () => {
          if (command === null) return 'nothing to do';
          const { code, output } = await machine.typeAsRoot(command);
          expect(code === 0, `code ${code}:\n${output}`);
        },
      },
    ];
  });
}

function commandForRoot(output) {
  const commands = output.split('\n').filter((line) => /^ {2}\S/.test(line));
  expect(commands.length === 1, `it shows ${commands.length} commands:\n${output}`);
  return commands[0].trim();
}

async function askFor(machine, round, terminal, request) {
  expect(terminal !== null, 'there is no server to ask');
  const network = round.network === 'shared' ? 'shared' : terminal.pid;
  const line = withPorts(request.line, round.ports);
  const { code, output } = await machine.type(`${line} -sS --max-time 10`, { network });
  const status = Number(/^HTTP\/1\.1 (\d{3})/m.exec(output)?.[1]);
  expect(code === 0 && status === promisedStatus(request), `code ${code}:\n${output}`);
}

async function endByCtrlC(terminal) {
  expect(terminal !== null, 'there is no server to end');
  const pressedAt = performance.now();
  terminal.pressCtrlC();
  const { code, signal } = await terminal.exited;
  const tookMs = performance.now() - pressedAt;
  expect(code === 0, `it ended with ${code ?? signal}:\n${terminal.text()}`);
  expect(tookMs < endMs, `it took ${seconds(tookMs)}`);
  return seconds(tookMs);
}

/** Ports that nobody listens on just now. */
async function freePorts(count) {
  const listeners = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(
    listeners.map(
      (listener) =>
        new Promise((resolve, reject) => {
          listener.once('error', reject);
          listener.listen(0, '127.0.0.1', () => resolve(listener.address().port));
        }),
    ),
  );
  await Promise.all(listeners.map((listener) => new Promise((done) => listener.close(done))));
  return ports;
}

function seconds(ms) {
  return `${(ms / 1000).toFixed(1)} s`;
}
