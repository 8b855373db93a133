import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { type Address, formatAddress } from '../../shared/addresses.js';
import { type Environment, originOf, type ResolvedConfig } from '../../shared/config.js';
import { MoonringError, messageOf } from '../../shared/errors.js';
import { loadNative, type NativeAddon } from '../../shared/native.js';
import type { Config } from '../../shared/options.js';
import { packageRoot, version } from '../../shared/package-info.js';
import type { ReceivedSignal } from '../../shared/signals.js';
import { openAdmin } from '../admin/admin.js';
import { sampleRates } from '../admin/rates.js';
import { type Status, statusOf } from '../admin/status.js';
import { forwardLog, type MasterLog, openLog, type PinoLogger } from '../log/log.js';
import { type Generation, prepareGeneration } from '../reload/generation.js';
import { watchFiles } from '../reload/watch.js';
import { activeSlots } from '../supervisor/slots.js';
import {
  type ChildExit,
  type Failure,
  initialState,
  type Order,
  type Prepared,
  type ReloadResult,
  type SupervisorSettings,
} from '../supervisor/state.js';
import { scalingProblem } from '../supervisor/supervisor.js';
import { type AllocatorChoice, chooseAllocator } from './allocator.js';
import { type RunningSupervisor, refuseClusterWorker, runSupervisor } from './effects.js';
import { type Listeners, openListeners } from './listeners.js';
import { autoProcesses } from './processes.js';
import { openResources, type Resources } from './resources.js';
import { needRestart, onlyLuaChanged, supervisorSettings } from './settings.js';

export interface MasterInputs {
  readonly resolved: ResolvedConfig;
  /** The configuration as it is now, for a reload. Throws a MoonringError. */
  readonly reread: () => ResolvedConfig;
  readonly env: Environment;
  /** In place of the log that the configuration describes. */
  readonly logger?: PinoLogger | undefined;
  /** Listening sockets from a service manager. */
  readonly inheritedFds: readonly number[];
  /** Called outside of the effect loop, so that what they do or throw does no harm there. */
  readonly hooks: (context: Pick<Context, 'native' | 'log'>) => MasterHooks;
}

export interface MasterHooks {
  readonly onReady: (ready: ReadyFields) => void;
  readonly onStopping: () => void;
  readonly onReloaded?: (result: ReloadResult) => void;
  readonly onExited?: (slot: number, exit: ChildExit) => void;
  /** Before `ended` resolves. */
  readonly onEnd?: (failure: Failure | null) => void;
}

/** What a start has prepared before it opens anything that others can see. */
interface Context extends Pick<MasterInputs, 'reread' | 'env' | 'inheritedFds'> {
  readonly first: Generation;
  readonly processes: number;
  readonly native: NativeAddon;
  readonly allocator: AllocatorChoice;
  readonly log: MasterLog;
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

export interface RunningMaster {
  /** Why it ended, `null` for a clean end. */
  readonly ended: Promise<Failure | null>;
  signal(signal: ReceivedSignal): void;
  reload(): Promise<ReloadResult>;
  /** Why it cannot be done, `null` if it has begun. */
  scale(processes: number): string | null;
  drain(): void;
  stop(): void;
  status(): Status;
}

/** Serves until it is ordered to stop. Throws a MoonringError if it cannot start. */
export async function startMaster(inputs: MasterInputs): Promise<RunningMaster> {
  refuseClusterWorker();
  const { resolved, reread, env, logger, inheritedFds } = inputs;
  const { config } = resolved;
  const native = loadNative(packageRoot, env['MOONRING_ADDON']);
  const first = await prepareGeneration({ native, env, resolved });
  const terminal = process.stdout.isTTY ? { colour: !env['NO_COLOR'] } : null;
  const log =
    logger === undefined
      ? openLog(native, { level: config.logLevel, file: config.logFile, terminal })
      : forwardLog(logger);
  try {
    for (const warning of [...resolved.warnings, ...first.warnings]) log.log('warn', {}, warning);
    const allocator = pickAllocator(config, env, log);
    const processes =
      config.processes === 'auto'
        ? autoProcesses(availableParallelism(), readText)
        : config.processes;
    const context = { first, reread, env, processes, native, allocator, log, inheritedFds };
    return await start(context, inputs.hooks({ native, log }));
  } catch (error) {
    if (first.appFd >= 0) native.closeDescriptor(first.appFd);
    log.close();
    throw error;
  }
}

function pickAllocator(
  { allocator: wanted }: Config,
  env: Environment,
  { log }: MasterLog,
): AllocatorChoice {
  const { platform, arch } = process;
  const choice = chooseAllocator({ wanted, platform, arch, env, exists: existsSync });
  if (choice.type === 'jemalloc') log('debug', { path: choice.path }, 'reactors use jemalloc');
  else {
    const level = choice.unexpected ? 'warn' : 'debug';
    log(level, { reason: choice.reason }, 'reactors use the system allocator');
  }
  return choice;
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

async function start(context: Context, hooks: MasterHooks): Promise<RunningMaster> {
  const { processes, first, log, native, allocator } = context;
  const { config } = first.resolved;
  requireEnough(config, processes);
  let latest = first;
  const { accept, resources } = openAll(context);
  const settingsOf = (generation: Generation) =>
    supervisorSettings(generation, resources.listenFdsInChild);
  const waiting: Waiting = { now: [], later: [] };
  let end: (failure: Failure | null) => void = () => {};
  const ended = new Promise<Failure | null>((resolve) => {
    end = resolve;
  });
  const supervisor = runSupervisor(initialState(settingsOf(first), processes), {
    native,
    log,
    resources,
    script: join(packageRoot, 'dist', 'reactor.js'),
    reactorEnv: allocator.type === 'jemalloc' ? allocator.env : {},
    livenessGraceMs: config.livenessGrace,
    prepareReload: async () => {
      const state = supervisor.state();
      const current = { settings: state.settings, reactors: activeSlots(state).length };
      return prepareReload(context, current, (generation) => {
        latest = generation;
        return settingsOf(generation);
      });
    },
    hooks: {
      onStopping: () => later(hooks.onStopping),
      onExited: (slot, exit) => later(() => hooks.onExited?.(slot, exit)),
      onReady: (name) => {
        const addresses = {
          ...addressesOf(resources.listeners),
          admin: admin.addresses.map(urlOf),
        };
        const app =
          first.app.kind === 'lua' ? first.app.path : `${first.app.path}:${first.app.symbol}`;
        later(() =>
          hooks.onReady({ ...addresses, app, processes, accept, allocator: name, version }),
        );
      },
      onReloaded: ({ failure, generation, replaced }) => {
        const result = { failure, generation, replaced };
        if (failure === null) log.setLevel(supervisor.state().settings.reactor.logLevel);
        for (const resolve of waiting.now) resolve(result);
        waiting.now = waiting.later;
        waiting.later = [];
        later(() => hooks.onReloaded?.(result));
      },
      onEnd: (failure) => {
        watcher?.close();
        sampler.close();
        admin.close();
        resources.close();
        log.close();
        later(() => hooks.onEnd?.(failure));
        later(() => end(failure));
      },
    },
  });
  const sampler = sampleRates(() => resources.stats.read());
  const startedAtMs = performance.now();
  const status = () =>
    statusOf({
      state: supervisor.state(),
      snapshot: resources.stats.read(),
      layout: native.statsLayout,
      boss: resources.boss.counters(),
      rates: sampler.rates(),
      accept,
      version,
      pid: process.pid,
      nowMs: performance.now(),
      startedAtMs,
      awakeSinceMs: supervisor.awakeSinceMs(),
    });
  const orders = makeOrders(supervisor, resources, waiting);
  const admin = await openAdmin({
    native,
    addresses: config.admin,
    isDefault: first.resolved.sources.admin.type === 'default',
    log: log.log,
    livenessGraceMs: config.livenessGrace,
    status,
    snapshot: () => resources.stats.read(),
    ownMetrics: () => resources.stats.readMetrics(),
    orders,
  }).catch((error: unknown) => {
    supervisor.close();
    sampler.close();
    resources.close();
    throw error;
  });
  const watcher = config.watch ? watchSources(() => latest, orders, log) : null;
  supervisor.dispatch({ type: 'boot' });
  return { ...orders, ended, status };
}

function later(hook: () => void): void {
  process.nextTick(hook);
}

function requireEnough({ minReactors }: Config, processes: number): void {
  if (minReactors <= processes) return;
  const message = `--min-reactors ${minReactors} is more than the ${processes} reactors there are`;
  throw new MoonringError('ERR_MOONRING_CONFIG', message);
}

function openAll({ native, first, processes, inheritedFds }: Context) {
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

function makeOrders(
  supervisor: RunningSupervisor,
  resources: Resources,
  waiting: Waiting,
): Omit<RunningMaster, 'ended' | 'status'> {
  const give = (order: Order) => supervisor.dispatch({ type: 'order', order });
  return {
    signal: (signal) => {
      // Its terminal is closed: no second signal will come from there.
      if (signal === 'hangup') return give({ type: 'drain' });
      // No wall clock: an operator or NTP may set that one.
      supervisor.dispatch({ type: 'signal', signal, nowMs: performance.now() });
    },
    reload: () =>
      new Promise((resolve) => {
        const busy = supervisor.state().reload.tag !== 'idle';
        (busy ? waiting.later : waiting.now).push(resolve);
        give({ type: 'reload' });
      }),
    scale: (processes) => {
      const { capacity } = resources;
      const problem = scalingProblem(supervisor.state(), processes);
      if (problem !== null) return problem;
      if (processes > capacity) return `this start has room for at most ${capacity} reactors`;
      try {
        if (processes > activeSlots(supervisor.state()).length) resources.makeRoom(processes);
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

function watchSources(
  latest: () => Generation,
  orders: Pick<RunningMaster, 'reload'>,
  log: MasterLog,
) {
  const sources = () => ({ app: latest().app, config: latest().resolved.file });
  return watchFiles(sources, {
    onChange: (files) => {
      const shown = files.slice(0, SHOWN_FILES);
      log.log('info', { files: shown, count: files.length }, 'files have changed: reloading');
      void orders.reload();
    },
    onProblem: (error) => log.log('warn', { err: error }, 'files cannot be watched'),
  });
}

/** In the record of a change that may be of many. */
const SHOWN_FILES = 10;

function addressesOf({ addresses }: Listeners) {
  const tcp = addresses.find((each) => each.type === 'tcp') ?? null;
  const unix = addresses.find((each) => each.type === 'unix') ?? null;
  return {
    address: urlOf(addresses[0]),
    addresses: addresses.map(urlOf),
    host: tcp?.host ?? null,
    port: tcp?.port ?? null,
    uds: unix?.path ?? null,
  };
}

/** The callers of `reload` who wait for the one that runs, and for the one after it. */
interface Waiting {
  now: ((result: ReloadResult) => void)[];
  later: ((result: ReloadResult) => void)[];
}

async function prepareReload(
  { reread, env, native, first, log }: Context,
  current: { readonly settings: SupervisorSettings; readonly reactors: number },
  settingsOf: (generation: Generation) => SupervisorSettings,
): Promise<Prepared> {
  try {
    const resolved = reread();
    requireEnough(resolved.config, current.reactors);
    const generation = await prepareGeneration({ native, env, resolved });
    for (const warning of generation.warnings) log.log('warn', {}, warning);
    const keys = needRestart(first.resolved.config, generation.resolved.config);
    if (keys.length > 0) log.log('warn', { keys }, 'changed options that only a restart takes');
    const settings = settingsOf(generation);
    return { ok: true, settings, onlyLua: onlyLuaChanged(current.settings, settings) };
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
