import { join } from 'node:path';
import { type Address, formatAddress } from '../../shared/addresses.js';
import { originOf, type ResolvedConfig } from '../../shared/config.js';
import { MoonringError, messageOf } from '../../shared/errors.js';
import type { AppSource, NativeAddon } from '../../shared/native.js';
import { version } from '../../shared/package-info.js';
import type { MasterSignal } from '../../shared/signals.js';
import { type Admin, openAdmin } from '../admin/admin.js';
import { type RateSampler, sampleRates } from '../admin/rate-sampler.js';
import { type Status, statusOf } from '../admin/status.js';
import type { MasterLog } from '../log/log.js';
import { watchFiles } from '../reload/watch.js';
import { activeSlots } from '../supervisor/slots.js';
import {
  type ChildExit,
  type Failure,
  initialState,
  type Order,
  type Prepared,
} from '../supervisor/state.js';
import { scalingProblem } from '../supervisor/supervisor.js';
import type { AllocatorChoice } from './allocator.js';
import { type Listeners, openListeners } from './listeners.js';
import { openResources, type Resources } from './resources.js';
import { needRestart, supervisorSettings } from './settings.js';
import { makeShell, type Shell } from './shell.js';

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
  /** Called outside of the effect loop. */
  readonly hooks: {
    readonly onReady: (ready: ReadyFields) => void;
    readonly onStopping: () => void;
    readonly onReloaded: (result: ReloadResult) => void;
    readonly onExited: (slot: number, exit: ChildExit) => void;
  };
}

export interface ReadyFields {
  /** A URL, or unix: and a path; the first of `addresses`. */
  readonly address: string;
  readonly addresses: readonly string[];
  /** The path of the handler, with a colon and the symbol for one in C. */
  readonly app: string;
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
  readonly failure: Failure | null;
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
 * Serves until told to stop. Throws ERR_MOONRING_LISTEN, when nothing has been started. The log is
 * closed either way.
 */
export async function startMaster(inputs: MasterInputs): Promise<RunningMaster> {
  try {
    return await start(inputs);
  } catch (error) {
    inputs.log.close();
    throw error;
  }
}

async function start(inputs: MasterInputs): Promise<RunningMaster> {
  const { processes, packageRoot, first, log, allocator, hooks } = inputs;
  const { config } = first.resolved;
  const { accept, resources } = openAll(inputs);
  const settingsOf = ({ resolved, app }: Generation) => {
    const { listenFdsInChild } = resources;
    return supervisorSettings({ config: resolved.config, app, packageRoot, listenFdsInChild });
  };
  const waiting: Waiting = { now: [], later: [] };
  let end: (failure: Failure | null) => void = () => {};
  const ended = new Promise<Failure | null>((resolve) => {
    end = resolve;
  });
  const shell = makeShell(initialState(settingsOf(first), processes), {
    native: inputs.native,
    log,
    resources,
    script: join(packageRoot, 'dist', 'reactor.js'),
    reactorEnv: allocator.type === 'jemalloc' ? allocator.env : {},
    livenessGraceMs: config.livenessGrace,
    prepareReload: () => prepareReload(inputs, settingsOf),
    hooks: {
      onStopping: () => later(hooks.onStopping),
      onExited: (slot, exit) => later(() => hooks.onExited(slot, exit)),
      onReady: (name) =>
        later(() =>
          hooks.onReady(
            readyFields({
              listeners: resources.listeners,
              app: first.app,
              admin,
              processes,
              accept,
              name,
            }),
          ),
        ),
      onReloaded: (failure, generation) => {
        if (failure === null) log.setLevel(shell.state().settings.reactor.logLevel);
        for (const resolve of waiting.now) resolve({ failure, generation });
        waiting.now = waiting.later;
        waiting.later = [];
        later(() => hooks.onReloaded({ failure, generation }));
      },
      onEnd: (failure) => {
        watcher?.close();
        sampler.close();
        admin.close();
        resources.close();
        log.close();
        end(failure);
      },
    },
  });
  const sampler = sampleRates(() => resources.stats.read());
  const status = statusReader(inputs.native, { resources, shell, accept, sampler });
  const orders = makeOrders(shell, resources, waiting);
  const admin = await openAdmin({
    native: inputs.native,
    addresses: config.admin,
    isDefault: first.resolved.sources.admin.type === 'default',
    log: log.log,
    livenessGraceMs: config.livenessGrace,
    status,
    snapshot: () => resources.stats.read(),
    orders,
  }).catch((error: unknown) => {
    shell.close();
    sampler.close();
    resources.close();
    throw error;
  });
  const watcher = config.watch ? watchApp(first.app.path, orders, log) : null;
  shell.dispatch({ type: 'boot' });
  return { ...orders, ended, status };
}

/** Outside of the effect loop: what the surrounding program does in a hook, or throws, is its own. */
function later(hook: () => void): void {
  process.nextTick(hook);
}

function openAll({ native, first, processes, inheritedFds }: MasterInputs) {
  const { config, sources } = first.resolved;
  const accept = acceptStrategy(config.accept);
  const listeners = openListeners(native, {
    config,
    tcpCount: accept === 'boss' ? 1 : processes,
    inheritedFds,
    origins: [sources.host, sources.port].flatMap((source) => originOf(source) ?? []),
  });
  return { accept, resources: openResources({ native, listeners, accept, config, processes }) };
}

interface StatusSources {
  readonly resources: Resources;
  readonly shell: Shell;
  readonly accept: 'reuseport' | 'boss';
  readonly sampler: RateSampler;
}

function statusReader(native: NativeAddon, sources: StatusSources): () => Status {
  const { resources, shell, accept, sampler } = sources;
  const { stats, boss } = resources;
  const startedAtMs = performance.now();
  return () =>
    statusOf({
      state: shell.state(),
      snapshot: stats.read(),
      layout: native.statsLayout,
      boss: boss.counters(),
      rates: sampler.rates(),
      accept,
      version,
      pid: process.pid,
      nowMs: performance.now(),
      startedAtMs,
      awakeSinceMs: shell.awakeSinceMs(),
    });
}

function makeOrders(
  shell: Shell,
  resources: Resources,
  waiting: Waiting,
): Omit<RunningMaster, 'ended' | 'status'> {
  const give = (order: Order) => shell.dispatch({ type: 'order', order });
  return {
    // No wall clock: an operator or NTP may set that one.
    signal: (signal) => shell.dispatch({ type: 'signal', signal, nowMs: performance.now() }),
    reload: () =>
      new Promise((resolve) => {
        const busy = shell.state().reload.tag !== 'idle';
        (busy ? waiting.later : waiting.now).push(resolve);
        give({ type: 'reload' });
      }),
    scale: (processes) => {
      const { capacity } = resources;
      const problem = scalingProblem(shell.state(), processes);
      if (problem !== null) return problem;
      if (processes > capacity) return `this start has room for at most ${capacity} reactors`;
      try {
        if (processes > activeSlots(shell.state()).length) resources.makeRoom(processes);
      } catch (error) {
        return messageOf(error);
      }
      give({ type: 'scale', processes });
      return null;
    },
    drain: () => give({ type: 'drain' }),
    stop: () => give({ type: 'stop' }),
  };
}

function watchApp(path: string, orders: Pick<RunningMaster, 'reload'>, log: MasterLog) {
  return watchFiles(path, {
    onChange: () => {
      log.log('info', {}, 'a file has changed');
      void orders.reload();
    },
    onProblem: (error) => log.log('warn', { err: error }, 'files cannot be watched'),
  });
}

interface ReadyInputs {
  readonly app: AppSource;
  readonly listeners: Listeners;
  readonly admin: Admin;
  readonly processes: number;
  readonly accept: 'reuseport' | 'boss';
  /** Of the allocator. */
  readonly name: string;
}

function readyFields(inputs: ReadyInputs): ReadyFields {
  const { listeners, app, admin, processes, accept, name } = inputs;
  const { addresses } = listeners;
  const tcp = addresses.find((each) => each.type === 'tcp') ?? null;
  const unix = addresses.find((each) => each.type === 'unix') ?? null;
  return {
    address: urlOf(addresses[0]),
    addresses: addresses.map(urlOf),
    app: app.kind === 'lua' ? app.path : `${app.path}:${app.symbol}`,
    host: tcp?.host ?? null,
    port: tcp?.port ?? null,
    uds: unix?.path ?? null,
    admin: admin.addresses.map(urlOf),
    processes,
    accept,
    allocator: name,
    version,
  };
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
    // Whatever it is, it is no reason to end what serves.
    const code = error instanceof MoonringError ? error.code : 'ERR_MOONRING_HANDLER';
    return { ok: false, failure: { code, message: messageOf(error) } };
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
