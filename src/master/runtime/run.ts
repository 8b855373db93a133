import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Address, formatAddress } from '../../shared/addresses.js';
import { type Environment, originOf, type ResolvedConfig } from '../../shared/config.js';
import { MoonringError, messageOf } from '../../shared/errors.js';
import { loadNative, type NativeAddon } from '../../shared/native.js';
import type { NativeTopics } from '../../shared/native-topics.js';
import type { Config } from '../../shared/options.js';
import { packageRoot, version } from '../../shared/package-info.js';
import type { ReceivedSignal } from '../../shared/signals.js';
import { openAdmin } from '../admin/admin.js';
import { usageOf } from '../admin/process-usage.js';
import { sampleRates } from '../admin/rates.js';
import { isAlive, type StatusReport, statusOf, type TlsStatus } from '../admin/status.js';
import { forwardLog, type MasterLog, openLog, type PinoLogger } from '../log/log.js';
import { openSpans, type SpanExport } from '../log/spans.js';
import { type Generation, prepareGeneration } from '../reload/generation.js';
import { watchFiles } from '../reload/watch.js';
import type { SharedDictionary } from '../shared-dictionary.js';
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
import { openResources, type Resources } from './resources.js';
import type { InheritedListener } from './service-manager.js';
import { needRestart, onlyLuaChanged, supervisorSettings } from './settings.js';
import { sharedSizes } from './shared-memory.js';
import { countProcesses, requireEnough } from './startable.js';

export interface MasterInputs {
  readonly resolved: ResolvedConfig;
  /** The current configuration, for a reload. Throws a MoonringError. */
  readonly reread: () => ResolvedConfig;
  readonly env: Environment;
  /** Replaces the configured log. */
  readonly logger?: PinoLogger | undefined;
  /** Listening sockets from a service manager. */
  readonly inherited: readonly InheritedListener[];
  /** Called outside the effect loop, so that their actions and errors do not affect it. */
  readonly hooks: (context: Pick<Context, 'native' | 'log'>) => MasterHooks;
}

export interface MasterHooks {
  readonly onReady: (ready: ReadyFields) => void;
  readonly onStopping: () => void;
  /** A reload begins; `onReloaded` follows. */
  readonly onReloading?: () => void;
  readonly onReloaded?: (result: ReloadResult) => void;
  readonly onExited?: (slot: number, exit: ChildExit) => void;
  /** Before `ended` resolves. */
  readonly onEnd?: (failure: Failure | null) => void;
}

/** What a start prepares before it opens anything visible to others. */
interface Context extends Pick<MasterInputs, 'reread' | 'env' | 'inherited'> {
  readonly first: Generation;
  readonly processes: number;
  readonly native: NativeAddon;
  readonly allocator: AllocatorChoice;
  readonly log: MasterLog;
  readonly spans: SpanExport | null;
}

export interface ReadyFields {
  /** A URL, or unix: and a path; the first of `addresses`. */
  readonly address: string;
  readonly addresses: readonly string[];
  /** The path of the handler, followed by a colon and the symbol if it is in C. */
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
  /** Why it is not possible, `null` if it has begun. */
  scale(processes: number): string | null;
  drain(): void;
  stop(): void;
  status(): StatusReport;
  /** As /livez. */
  isAlive(): boolean;
  /** Throws ERR_MOONRING_SHARED if there is none of this name. */
  shared(name: string): SharedDictionary;
  readonly topics: NativeTopics;
}

/** Serves until it is ordered to stop. Throws a MoonringError if it cannot start. */
export async function startMaster(inputs: MasterInputs): Promise<RunningMaster> {
  refuseClusterWorker();
  const { resolved, reread, env, logger, inherited } = inputs;
  const { config } = resolved;
  const native = loadNative(packageRoot, env['MOONRING_ADDON']);
  const first = await prepareGeneration({ native, env, resolved, shared: sharedSizes(config) });
  const terminal = process.stdout.isTTY ? { colour: !env['NO_COLOR'] } : null;
  const log =
    logger === undefined
      ? openLog(native, { level: config.logLevel, file: config.logFile, terminal })
      : forwardLog(logger);
  try {
    for (const warning of [...resolved.warnings, ...first.warnings]) log.log('warn', {}, warning);
    const allocator = pickAllocator(config, env, log);
    const processes = countProcesses(config);
    const spans = config.otlp === null ? null : await openSpans(config.otlp, version, log.log);
    const context = { first, reread, env, processes, native, allocator, log, spans, inherited };
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

async function start(context: Context, hooks: MasterHooks): Promise<RunningMaster> {
  const { processes, first, log, native, allocator, spans } = context;
  const { config } = first.resolved;
  requireEnough(config, processes);
  let latest = first;
  const { accept, resources } = openAll(context);
  const settingsOf = (generation: Generation) => supervisorSettings(generation, resources);
  const waiting: Waiting = { now: [], later: [] };
  let end: (failure: Failure | null) => void = () => {};
  const ended = new Promise<Failure | null>((resolve) => {
    end = resolve;
  });
  const supervisor = runSupervisor(initialState(settingsOf(first), processes), {
    native,
    log,
    spans,
    resources,
    script: join(packageRoot, 'dist', 'reactor.js'),
    reactorEnv: {
      ...(allocator.type === 'jemalloc' ? allocator.env : {}),
      // For ngx.worker.count().
      MOONRING_REACTORS: String(processes),
    },
    livenessGraceMs: config.livenessGrace,
    prepareReload: async () => {
      later(() => hooks.onReloading?.());
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
          admin: admin.addresses.map((each) => urlOf(each, null)),
        };
        const app =
          first.app.kind === 'lua' ? first.app.path : `${first.app.path}:${first.app.symbol}`;
        later(() =>
          hooks.onReady({ ...addresses, app, processes, accept, allocator: name, version }),
        );
      },
      onReloaded: ({ failure, generation, replaced }) => {
        const result = { failure, generation, replaced };
        if (failure === null) {
          log.setLevel(supervisor.state().settings.reactor.logLevel);
          resources.certificates.use(latest.certificates);
        }
        // An order at the wrong time says nothing about the app.
        if (failure?.code !== 'ERR_MOONRING_CONTROL') {
          resources.shared.showRejection(failure?.message ?? null);
        }
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
        void (spans?.close() ?? Promise.resolve()).then(() => {
          log.close();
          later(() => hooks.onEnd?.(failure));
          later(() => end(failure));
        });
      },
    },
  });
  const sampler = sampleRates(() => resources.stats.read(), native.statsLayout.latencyBuckets);
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
      shared: resources.shared.stats(),
      spans: spans?.counts() ?? null,
      topicCounters: resources.topicCounters,
      tls: tlsStatus(resources),
    });
  const orders = makeOrders(supervisor, resources, waiting);
  const admin = await openAdmin({
    native,
    addresses: config.admin,
    inherited: resources.listeners.admin,
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
  const { topics } = resources;
  const report = () => {
    const now = status();
    return { ...now, processes: usageOf(now) };
  };
  return {
    ...orders,
    ended,
    status: report,
    isAlive: () => isAlive(status(), config.livenessGrace),
    shared: resources.shared.dictionary,
    topics,
  };
}

function tlsStatus({ listeners, certificates }: Resources): TlsStatus | null {
  if (listeners.tlsPort === null) return null;
  return {
    port: listeners.tlsPort,
    certificates: certificates.list().map(({ path, names, serial, notAfter }) => {
      const notAfterSeconds = notAfter.getTime() / 1000;
      return { path, names, serial, notAfter: notAfter.toISOString(), notAfterSeconds };
    }),
  };
}

function later(hook: () => void): void {
  process.nextTick(hook);
}

function openAll({ native, first, processes, inherited }: Context) {
  const { config, sources } = first.resolved;
  const accept = acceptStrategy(config.accept);
  const listeners = openListeners(native, {
    config,
    tcpCount: accept === 'boss' ? 1 : processes,
    inherited,
    origins: [sources.host, sources.port].flatMap((source) => originOf(source) ?? []),
    tlsPort: first.certificates === null ? null : config.tlsPort,
  });
  const { certificates } = first;
  const options = { native, listeners, accept, config, processes, certificates };
  return { accept, resources: openResources(options) };
}

function makeOrders(
  supervisor: RunningSupervisor,
  resources: Resources,
  waiting: Waiting,
): Omit<RunningMaster, 'ended' | 'status' | 'isAlive' | 'shared' | 'topics'> {
  const give = (order: Order) => supervisor.dispatch({ type: 'order', order });
  return {
    signal: (signal) => {
      // Its terminal is closed: no second signal will come from there.
      if (signal === 'hangup') return give({ type: 'drain' });
      // Not the wall clock: an operator or NTP may set it.
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
      if (processes > capacity)
        return `the server was started with room for at most ${capacity} reactors`;
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

function addressesOf({ addresses, tlsPort }: Listeners) {
  const tcp = addresses.find((each) => each.type === 'tcp') ?? null;
  const unix = addresses.find((each) => each.type === 'unix') ?? null;
  return {
    address: urlOf(addresses[0], tlsPort),
    addresses: addresses.map((each) => urlOf(each, tlsPort)),
    host: tcp?.host ?? null,
    port: tcp?.port ?? null,
    uds: unix?.path ?? null,
  };
}

/** The callers of `reload` waiting for the current one, and for the one after it. */
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
    // The memory of the start: other sizes need a restart.
    const shared = sharedSizes(first.resolved.config);
    const generation = await prepareGeneration({ native, env, resolved, shared, serves: true });
    for (const warning of generation.warnings) log.log('warn', {}, warning);
    const keys = needRestart(first.resolved.config, generation.resolved.config);
    if (keys.length > 0) log.log('warn', { keys }, 'changed options need a restart');
    if ((generation.certificates === null) !== (first.certificates === null)) {
      log.log('warn', {}, 'TLS can be switched on or off only by a restart');
    }
    const settings = settingsOf(generation);
    return { ok: true, settings, onlyLua: onlyLuaChanged(current.settings, settings) };
  } catch (error) {
    // Whatever the error, it is no reason to stop serving.
    const code = error instanceof MoonringError ? error.code : 'ERR_MOONRING_HANDLER';
    return { ok: false, failure: { code, message: messageOf(error) } };
  }
}

/** macOS does not spread connections over a group of sockets. */
function acceptStrategy(wanted: 'auto' | 'reuseport' | 'boss'): 'reuseport' | 'boss' {
  if (wanted !== 'auto') return wanted;
  return process.platform === 'darwin' ? 'boss' : 'reuseport';
}

function urlOf(address: Address | undefined, tlsPort: number | null): string {
  if (address === undefined) return '';
  const text = formatAddress(address);
  if (address.type === 'unix') return `unix:${text}`;
  return address.port === tlsPort ? `https://${text}` : `http://${text}`;
}
