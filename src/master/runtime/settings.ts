import { join } from 'node:path';
import type { AppSource, ReactorSettings } from '../../shared/native.js';
import type { Config, ConfigKey } from '../../shared/options.js';
import { CRASH_POLICY } from '../supervisor/backoff.js';
import type { SupervisorSettings } from '../supervisor/supervision.js';
import { CHILD_CONTROL_FD, CHILD_INBOX_FD, CHILD_STATS_FD } from './reactor-process.js';

const START_TIMEOUT_MS = 20_000;
/** More than a reactor without a channel takes to drain. */
const EXIT_TIMEOUT_MS = 2000;
const STOP_TIMEOUT_MS = 500;

export interface SettingsInputs {
  readonly config: Config;
  readonly app: AppSource;
  readonly packageRoot: string;
  readonly listenFdsInChild: readonly number[];
}

/** What a generation of reactors is run with: a reload may change all of it. */
export function supervisorSettings(inputs: SettingsInputs): SupervisorSettings {
  const { config, app, packageRoot, listenFdsInChild } = inputs;
  const reactor: ReactorSettings = {
    app,
    luaRoot: join(packageRoot, 'lua'),
    logLevel: config.logLevel,
    maxConnections: config.maxConnections,
    ringSize: config.ringSize,
    maxBody: config.maxBody,
    maxUrl: config.maxUrl,
    maxHeaders: config.maxHeaders,
    headerTimeoutMs: config.headerTimeout,
    bodyTimeoutMs: config.bodyTimeout,
    keepaliveTimeoutMs: config.keepaliveTimeout,
    writeTimeoutMs: config.writeTimeout,
    handlerTimeoutMs: config.handlerTimeout,
    workers: config.workers,
    dispatch: config.dispatch,
    luaMemory: config.luaMemory,
    bodyMinRate: config.bodyMinRate,
    accessLog: config.accessLog,
    accessLogPath: config.accessLogFile,
  };
  return {
    reactor: {
      ...reactor,
      listenFds: listenFdsInChild,
      controlFd: CHILD_CONTROL_FD,
      statsFd: CHILD_STATS_FD,
      inboxFd: CHILD_INBOX_FD,
    },
    pin: config.pin,
    startTimeoutMs: START_TIMEOUT_MS,
    exitTimeoutMs: EXIT_TIMEOUT_MS,
    stopTimeoutMs: STOP_TIMEOUT_MS,
    drainDelayMs: config.drainDelay,
    drainTimeoutMs: config.drainTimeout,
    crashes: CRASH_POLICY,
  };
}

/** Belong to the master, which is not restarted by a reload. */
const MASTERS_KEYS = [
  'port',
  'host',
  'uds',
  'udsMode',
  'backlog',
  'accept',
  'bossPolicy',
  'processes',
  'admin',
  'livenessGrace',
  'watch',
  'logFile',
  'allocator',
] as const satisfies readonly ConfigKey[];

/** What was changed and will only be looked at by the next start. */
export function needRestart(before: Config, after: Config): ConfigKey[] {
  return MASTERS_KEYS.filter((key) => before[key] !== after[key]);
}
