import { readFileSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import type { ResolvedConfig } from '../../shared/config.js';
import { MoonringError, messageOf } from '../../shared/errors.js';
import type { Config } from '../../shared/options.js';
import { requireWritable } from '../reload/generation.js';
import { autoProcesses } from './processes.js';

/**
 * Checks beyond those of a reload for anything that would always keep the server from starting:
 * `--check` finds it without opening anything. Throws a MoonringError.
 */
export function requireStartable(
  { config, sources }: ResolvedConfig,
  { speaksTls, processes }: { readonly speaksTls: boolean; readonly processes: number },
): void {
  requireEnough(config, processes);
  requireAddresses(config, speaksTls ? config.tlsPort : null);
  if (sources.admin.type !== 'default') requireOtherAdmin(config);
  const sockets = [
    config.uds,
    ...config.admin.map((each) => (each.type === 'unix' ? each.path : null)),
  ];
  for (const path of sockets) if (path !== null) requireSocketPath(path);
  if (config.logFile !== null) requireLogFile(config.logFile);
}

/** How many reactors a server with this configuration starts with. */
export function countProcesses({ processes }: Config): number {
  return processes === 'auto' ? autoProcesses(availableParallelism(), readText) : processes;
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

export function requireEnough({ minReactors }: Config, processes: number): void {
  if (minReactors <= processes) return;
  const message = `--min-reactors ${minReactors} is more than the ${processes} reactors there are`;
  throw new MoonringError('ERR_MOONRING_CONFIG', message);
}

/** `tlsPort` null: no TLS. */
export function requireAddresses(
  { port, uds }: Pick<Config, 'port' | 'uds'>,
  tlsPort: number | null,
): void {
  if (port === 'off' && uds === null && tlsPort === null) {
    const message = 'there is nothing to listen on: --port off needs --uds or --tls-cert';
    throw new MoonringError('ERR_MOONRING_USAGE', message);
  }
  if (tlsPort !== null && tlsPort === port && port !== 0) {
    const message = `--port and --tls-port are both ${port}: choose another one, or --port off`;
    throw new MoonringError('ERR_MOONRING_USAGE', message);
  }
}

const ALL_HOSTS = ['*', '0.0.0.0', '::'];

function requireOtherAdmin({ admin, host: hosts, port, uds }: Config): void {
  for (const address of admin) {
    const isTaken =
      address.type === 'unix'
        ? address.path === uds
        : address.port === port &&
          port !== 0 &&
          [...hosts, address.host].some(
            (host) => ALL_HOSTS.includes(host) || hosts.includes(address.host),
          );
    if (!isTaken) continue;
    const name =
      address.type === 'unix'
        ? `--uds and --admin are both ${uds}`
        : `--port and --admin are both ${port}`;
    throw new MoonringError('ERR_MOONRING_USAGE', `${name}: choose another one`);
  }
}

function requireSocketPath(path: string): void {
  const fail = (problem: string) => new MoonringError('ERR_MOONRING_LISTEN', problem);
  const directory = dirname(path);
  if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw fail(`cannot listen on ${path}: there is no directory ${directory}`);
  }
  const there = statSync(path, { throwIfNoEntry: false });
  if (there !== undefined && !there.isSocket()) {
    throw fail(`${path} exists and is not a socket: choose another path`);
  }
}

function requireLogFile(path: string): void {
  try {
    requireWritable(path);
  } catch (cause) {
    const message = `the log file cannot be opened: ${messageOf(cause)}`;
    throw new MoonringError('ERR_MOONRING_CONFIG', message, { cause });
  }
}
