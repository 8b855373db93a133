// Peers that are programs of this directory: for Node, Bun and Go.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { BENCH, BUILD, hasProgram, portOfNumber, startServer } from './programs.mjs';

const PEERS = join(BENCH, 'peers');
const MODULES = join(PEERS, 'node_modules');
const GO_PEER = join(BUILD, 'peer-go');

// Bun is an ordinary executable inside the package for this platform.
const BUN = join(MODULES, '@oven', `bun-linux-${bunArchitecture()}`, 'bin', 'bun');

function bunArchitecture() {
  return process.arch === 'arm64' ? 'aarch64' : process.arch;
}

function start(command, args) {
  const environment = { NODE_ENV: 'production' };
  return startServer({ command, args, portOf: portOfNumber, environment });
}

export function startNode(file, ...args) {
  return start(process.execPath, [join(PEERS, file), ...args]);
}

export function fastifyMissing() {
  return existsSync(join(MODULES, 'fastify'))
    ? undefined
    : 'Fastify is not installed (npm ci --prefix bench/peers)';
}

export function bunMissing() {
  return existsSync(BUN) ? undefined : 'Bun is not installed (npm ci --prefix bench/peers)';
}

export function startBun(work) {
  return start(BUN, [join(PEERS, 'bun.mjs'), work]);
}

// Go compiles what is not compiled yet; its modules come from the proxy it is configured for.
let goFault;

export function goMissing() {
  if (goFault === undefined) {
    goFault = hasProgram('go') ? buildGo() : 'Go is not installed';
  }
  return goFault === '' ? undefined : goFault;
}

function buildGo() {
  const { status, stderr } = spawnSync('go', ['build', '-mod=readonly', '-o', GO_PEER, '.'], {
    cwd: join(PEERS, 'go'),
    env: { ...process.env, GOTOOLCHAIN: 'local' },
    encoding: 'utf8',
  });
  return status === 0 ? '' : `Go cannot build it: ${stderr.trim().split('\n').at(-1)}`;
}

export function startGo(server) {
  return start(GO_PEER, [server]);
}
