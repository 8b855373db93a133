import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { type Config, type ConfigKey, nativeConfigOf, restartKeys } from '../../shared/options.js';
import { packageRoot } from '../../shared/package-info.js';
import type { Generation } from '../reload/generation.js';
import { CRASH_POLICY, RENEWAL_POLICY } from '../supervisor/backoff.js';
import type { SupervisorSettings } from '../supervisor/state.js';
import {
  CHILD_APPS_FD,
  CHILD_CONTROL_FD,
  CHILD_INBOX_FD,
  CHILD_STATS_FD,
  CHILD_STDOUT_FD,
  type Resources,
} from './resources.js';

const START_TIMEOUT_MS = 20_000;
/** More time than a reactor without a channel needs to drain. */
const EXIT_TIMEOUT_MS = 2000;
const STOP_TIMEOUT_MS = 500;

/** The settings of a generation of reactors: a reload may change all of them. */
export function supervisorSettings(
  { resolved, app, appFd, build }: Generation,
  {
    listenFdsInChild,
    sharedInChild,
    topicsFdsInChild,
    listeners,
  }: Pick<Resources, 'listenFdsInChild' | 'sharedInChild' | 'topicsFdsInChild' | 'listeners'>,
): SupervisorSettings {
  const { config } = resolved;
  return {
    reactor: {
      ...nativeConfigOf(config),
      app,
      luaRoot: join(packageRoot, 'lua'),
      listenFds: listenFdsInChild,
      controlFd: CHILD_CONTROL_FD,
      statsFd: CHILD_STATS_FD,
      inboxFd: CHILD_INBOX_FD,
      appsFd: CHILD_APPS_FD,
      isKept: appFd >= 0,
      tlsPort: listeners.tlsPort ?? 0,
      accessLogFd: CHILD_STDOUT_FD,
      traceSample: config.otlp === null ? 0 : config.traceSample,
      sharedRegions: sharedInChild,
      topicsFds: topicsFdsInChild,
    },
    appFd,
    build,
    pin: config.pin,
    minReactors: config.minReactors,
    startTimeoutMs: START_TIMEOUT_MS,
    exitTimeoutMs: EXIT_TIMEOUT_MS,
    stopTimeoutMs: STOP_TIMEOUT_MS,
    drainDelayMs: config.drainDelay,
    drainTimeoutMs: config.drainTimeout,
    crashes: CRASH_POLICY,
    renewals: RENEWAL_POLICY,
  };
}

/** Whether reactors can take the new settings by loading the Lua files again. */
export function onlyLuaChanged(before: SupervisorSettings, after: SupervisorSettings): boolean {
  const { reactor, pin, build } = after;
  if (reactor.app.kind !== 'lua' || !reactor.isKept) return false;
  if (pin !== before.pin || build !== before.build) return false;
  return isDeepStrictEqual(reactor, before.reactor);
}

/** The changes that only a restart applies. */
export function needRestart(before: Config, after: Config): ConfigKey[] {
  return restartKeys().filter((key) => !isDeepStrictEqual(before[key], after[key]));
}
