import { join } from 'node:path';
import { type Address, formatAddress } from '../shared/addresses.js';
import { originOf, type ResolvedConfig } from '../shared/config.js';
import { MoonringError, messageOf } from '../shared/errors.js';
import type { AppSource, NativeAddon } from '../shared/native.js';
import { version } from '../shared/package-info.js';
import { openAdmin } from './admin.js';
import type { AllocatorChoice } from './allocator.js';
import { openListeners } from './listeners.js';
import type { MasterLog } from './log.js';
import { openResources } from './resources.js';
import { scalingProblem, servingSlots } from './scaling.js';
import { needRestart, supervisorSettings } from './settings.js';
import { makeShell, type ShellHooks } from './shell.js';
import { type Status, statusOf } from './status.js';
import { type Failure, initialState, type MasterSignal, type Prepared } from './supervision.js';
import { watchFiles } from './watch.js';

/** What a generation of reactors is made from: configuration and an app that was checked. */
export interface Generation {
  readonly resolved: ResolvedConfig;
  readonly app: AppSource;
}

export interface MasterInputs {
  readonly first: Generation;
  /** Looks at everything anew. Throws a MoonringError that says what is wrong. */
  readonly prepare: () => Promise<Generation>;
  readonly processes: number;
  readonly packageRoot: string;
  readonly native: NativeAddon;
  readonly allocator: AllocatorChoice;
  readonly log: MasterLog;
  /** Listening sockets from a service manager. */
  readonly inheritedFds: readonly number[];
  readonly hooks: Pick<ShellHooks, 'onStopping' | 'onExited' | 'onReloaded'> & {
    readonly onReady: (ready: ReadyFields) => void;
  };
}

export interface ReadyFields {
  /** A URL, or unix: and a path. */
  readonly address: string;
  readonly host: string | null;
  readonly port: number | null;
  /** The Unix socket, if there is one. */
  readonly uds: string | null;
  readonly admin: readonly string[];
  readonly processes: number;
  readonly accept: 'reuseport' | 'boss';
  readonly allocator: string;
  readonly version: string;
}

export interface ReloadResult {
  /** `null`: done. */
  readonly problem: string | null;
  readonly generation: number;
}

export interface RunningMaster {
  /** Why it ended, `null` for a clean end. */
  readonly ended: Promise<Failure | null>;
  signal(signal: MasterSignal): void;
  reload(): Promise<ReloadResult>;
  /** Why it cannot be done, `null` if it has begun. */
  scale(processes: number): string | null;
  drain(): void;
  stop(): void;
  status(): Status;
}

/**
 * Serves until told to stop. Throws ERR_MOONRING_LISTEN, when nothing has been started.
 */
export async function startMaster(inputs: MasterInputs): Promise<RunningMaster> {
  const { native, processes, packageRoot, first, log, allocator } = inputs;
  const { config, sources } = first.resolved;
  const accept = acceptStrategy(config.accept);
  const listeners = openListeners(native, {
    config,
    tcpCount: accept === 'boss' ? 1 : processes,
    inheritedFds: inputs.inheritedFds,
    origins: [sources.host, sources.port].flatMap((source) => originOf(source) ?? []),
  });
  const resources = openResources({ native, listeners, accept, config, processes });
  const { listenFdsInChild } = resources;
  const settingsOf = ({ resolved, app }: Generation) =>
    supervisorSettings({ config: resolved.config, app, packageRoot, listenFdsInChild });

  const startedAtMs = Date.now();
  let end: (failure: Failure | null) => void = () => {};
  const ended = new Promise<Failure | null>((resolve) => {
    end = resolve;
  });
  const waiting: Waiting = { now: [], later: [] };
  const status = (): Status =>
    statusOf({
      state: shell.state(),
      snapshot: resources.stats.read(),
      layout: native.statsLayout,
      boss: resources.boss.counters(),
      accept,
      version,
      nowMs: Date.now(),
      startedAtMs,
    });
  const shell = makeShell(initialState(settingsOf(first), processes), {
    native,
    log,
    resources,
    script: join(packageRoot, 'dist', 'reactor.js'),
    reactorEnv: allocator.type === 'jemalloc' ? allocator.env : {},
    livenessGraceMs: config.livenessGrace,
    prepareReload: () => prepareReload(inputs, settingsOf),
    hooks: {
      ...inputs.hooks,
      onReady: (name) => inputs.hooks.onReady(readyFields(name)),
      onReloaded: (problem, generation) => {
        for (const answer of waiting.now) answer({ problem, generation });
        waiting.now = waiting.later;
        waiting.later = [];
        inputs.hooks.onReloaded(problem, generation);
      },
      onEnd: (failure) => {
        watcher?.close();
        admin.close();
        resources.close();
        end(failure);
      },
    },
  });

  const master: RunningMaster = {
    ended,
    signal: (signal) => shell.dispatch({ type: 'signal', signal, nowMs: Date.now() }),
    reload: () =>
      new Promise((resolve) => {
        const busy = shell.state().reload.tag !== 'idle';
        (busy ? waiting.later : waiting.now).push(resolve);
        shell.dispatch({ type: 'order', order: { type: 'reload' }, nowMs: Date.now() });
      }),
    scale: (count) => {
      const problem =
        count > resources.capacity
          ? `at most ${resources.capacity} reactors: this server was started with ${processes}`
          : scalingProblem(shell.state());
      if (problem !== null) return problem;
      try {
        if (count > servingSlots(shell.state()).length) resources.makeRoom(count);
      } catch (error) {
        return messageOf(error);
      }
      const order = { type: 'scale', processes: count } as const;
      shell.dispatch({ type: 'order', order, nowMs: Date.now() });
      return null;
    },
    drain: () => shell.dispatch({ type: 'order', order: { type: 'drain' }, nowMs: Date.now() }),
    stop: () => shell.dispatch({ type: 'order', order: { type: 'stop' }, nowMs: Date.now() }),
    status,
  };
  const admin = await openAdmin({
    native,
    addresses: config.admin,
    livenessGraceMs: config.livenessGrace,
    status,
    snapshot: () => resources.stats.read(),
    orders: master,
  }).catch((error: unknown) => {
    resources.close();
    throw error;
  });
  const watcher = config.watch
    ? watchFiles(first.app.path, () => {
        log.log('info', {}, 'a file has changed');
        void master.reload();
      })
    : null;

  function readyFields(allocatorName: string): ReadyFields {
    const { addresses } = listeners;
    const tcp = addresses.find((each) => each.type === 'tcp') ?? null;
    const unix = addresses.find((each) => each.type === 'unix') ?? null;
    return {
      address: urlOf(addresses[0]),
      host: tcp?.host ?? null,
      port: tcp?.port ?? null,
      uds: unix?.path ?? null,
      admin: admin.addresses.map(urlOf),
      processes,
      accept,
      allocator: allocatorName,
      version,
    };
  }

  shell.dispatch({ type: 'boot' });
  return master;
}

/** Those who wait for the reload that runs, and for the one after it. */
interface Waiting {
  now: ((result: ReloadResult) => void)[];
  later: ((result: ReloadResult) => void)[];
}

async function prepareReload(
  { prepare, first, log }: MasterInputs,
  settingsOf: (generation: Generation) => ReturnType<typeof supervisorSettings>,
): Promise<Prepared> {
  try {
    const generation = await prepare();
    const keys = needRestart(first.resolved.config, generation.resolved.config);
    if (keys.length > 0) log.log('warn', { keys }, 'changed options that only a restart takes');
    return { ok: true, settings: settingsOf(generation) };
  } catch (error) {
    if (!(error instanceof MoonringError)) throw error;
    return { ok: false, problem: error.message };
  }
}

/** macOS does not spread connections over a group of sockets. */
function acceptStrategy(wanted: 'auto' | 'reuseport' | 'boss'): 'reuseport' | 'boss' {
  if (wanted !== 'auto') return wanted;
  return process.platform === 'darwin' ? 'boss' : 'reuseport';
}

function urlOf(address: Address | undefined): string {
  if (address === undefined) return '';
  const text = formatAddress(address);
  return address.type === 'tcp' ? `http://${text}` : `unix:${text}`;
}
