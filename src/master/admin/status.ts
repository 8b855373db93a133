import type { DictionaryStats } from '../../shared/native-shared.js';
import type {
  AllocatorBytes,
  BossCounters,
  ProcessStats,
  StatsLayout,
  StatsSnapshot,
} from '../../shared/native-stats.js';
import type { TopicCounters } from '../../shared/native-topics.js';
import type { SpanCounts } from '../log/spans.js';
import { processOf, servingNotes, silenceOf } from '../supervisor/liveness.js';
import { mainOf, predecessorsOf, successorOf } from '../supervisor/slots.js';
import type {
  Phase,
  Reload,
  ServingNote,
  Slot,
  SlotState,
  SupervisorState,
} from '../supervisor/state.js';
import type { ProcessUsage } from './process-usage.js';
import type { Rates, ServerRates } from './rates.js';

/** The master's view, for /status, /metrics and the API. Plain data. Pure. */
export interface Status {
  readonly version: string;
  /** Of the master: signals go there. */
  readonly pid: number;
  readonly phase: Phase['tag'];
  /** Enough reactors accept requests, and no drain has begun. */
  readonly ready: boolean;
  /** The requirement for `ready`: `--min-reactors`. */
  readonly minReactors: number;
  /** All reactors have been ready once. */
  readonly started: boolean;
  readonly uptimeSeconds: number;
  readonly generation: number;
  readonly reload: Reload['tag'];
  readonly accept: 'reuseport' | 'boss';
  readonly requests: number;
  /** In the last second; `null` in the first one. */
  readonly rates: Rates | null;
  readonly reactors: readonly ReactorStatus[];
  /** `--memory-limit`, per reactor; 0: none. */
  readonly memoryLimitBytes: number;
  readonly restarts: SupervisorState['restarts'];
  readonly reloads: SupervisorState['reloads'];
  readonly boss: BossCounters;
  /** The shared dictionaries, in the order of the configuration. */
  readonly shared: readonly DictionaryStatus[];
  /** `null`: none are exported. */
  readonly spans: SpanCounts | null;
  /** The topics, of the master and of each reactor. */
  readonly topics: readonly TopicStatus[];
  /** `null`: no TLS. */
  readonly tls: TlsStatus | null;
}

/** For /status: examining every process takes longer than a probe should. */
export interface StatusReport extends Status {
  /** Of the master and the reactors; empty without /proc. */
  readonly processes: readonly ProcessUsage[];
}

export interface DictionaryStatus extends DictionaryStats {
  readonly name: string;
}

export interface TopicStatus extends TopicCounters {
  /** `master`, or `reactor-<n>` with all processes it ever had. */
  readonly process: string;
}

export interface TlsStatus {
  readonly port: number;
  readonly certificates: readonly CertificateStatus[];
}

export interface CertificateStatus {
  /** Its file. */
  readonly path: string;
  readonly names: readonly string[];
  readonly serial: string;
  /** ISO 8601. */
  readonly notAfter: string;
  /** The same in Unix time. */
  readonly notAfterSeconds: number;
}

export interface ReactorStatus {
  readonly reactor: number;
  readonly state: SlotState['tag'];
  readonly pid: number | null;
  readonly generation: number | null;
  readonly allocator: string | null;
  readonly uptimeSeconds: number | null;
  /** By state; all processes of the slot. */
  readonly connections: Readonly<Record<string, number>>;
  readonly requests: number;
  readonly rates: Rates | null;
  readonly queueDepth: number;
  /** All processes of the slot; `null` without jemalloc. */
  readonly allocatorBytes: AllocatorBytes | null;
  readonly heartbeatAgeMs: number | null;
  /** What its threads are doing. */
  readonly serving: readonly ServingNote[];
  /** Why it counts as being in a crash loop; it is still restarted. */
  readonly crashLoop: string | null;
  /** Processes being started beside it, and those handing over to it. */
  readonly successors: number;
  readonly predecessors: number;
}

export interface StatusInputs {
  readonly state: SupervisorState;
  readonly snapshot: StatsSnapshot;
  readonly layout: StatsLayout;
  readonly boss: BossCounters;
  readonly rates: ServerRates | null;
  readonly accept: 'reuseport' | 'boss';
  readonly version: string;
  readonly pid: number;
  readonly nowMs: number;
  readonly startedAtMs: number;
  /** Heartbeats count as no older than this, on the clock of the snapshot. */
  readonly awakeSinceMs: number;
  readonly shared: readonly DictionaryStatus[];
  readonly spans: SpanCounts | null;
  readonly topicCounters: (slot: number | 'master') => TopicCounters;
  readonly tls: TlsStatus | null;
}

export function statusOf(inputs: StatusInputs): Status {
  const { state, version, pid, accept, boss, nowMs, startedAtMs } = inputs;
  const slots = state.slots.filter((slot) => !slot.retired || slot.state.tag !== 'stopped');
  const reactors = slots.map((slot) => reactorStatus(slot, inputs));
  const { minReactors } = state.settings;
  return {
    version,
    pid,
    phase: state.phase.tag,
    ready: state.phase.tag === 'serving' && readyReactors(reactors) >= minReactors,
    minReactors,
    started: state.phase.tag !== 'starting',
    uptimeSeconds: (nowMs - startedAtMs) / 1000,
    generation: state.generation,
    reload: state.reload.tag,
    accept,
    requests: sum(inputs.snapshot.slots.flatMap(({ counters }) => counters.requestsByMethod)),
    rates: inputs.rates?.total ?? null,
    reactors,
    memoryLimitBytes: state.settings.reactor.memoryLimit,
    restarts: state.restarts,
    reloads: state.reloads,
    boss,
    shared: inputs.shared,
    spans: inputs.spans,
    topics: [
      { process: 'master', ...inputs.topicCounters('master') },
      ...inputs.snapshot.slots.map(({ slot }) => {
        return { process: `reactor-${slot}`, ...inputs.topicCounters(slot) };
      }),
    ],
    tls: inputs.tls,
  };
}

export function readyReactors(reactors: readonly ReactorStatus[]): number {
  return reactors.filter((each) => each.state === 'ready').length;
}

/** False if the heartbeat of every serving reactor is lost: only a restart helps then. */
export function isAlive(status: Status, graceMs: number): boolean {
  const serving = status.reactors.filter((each) => each.state === 'ready');
  if (graceMs === 0 || serving.length === 0) return true;
  return serving.some(({ heartbeatAgeMs }) => (heartbeatAgeMs ?? 0) <= graceMs);
}

function reactorStatus(slot: Slot, inputs: StatusInputs): ReactorStatus {
  const { state, snapshot, layout, rates, awakeSinceMs } = inputs;
  const child = mainOf(state, slot);
  const main = child === null ? null : processOf(snapshot, child);
  const stats = snapshot.slots.find((each) => each.slot === slot.index);
  const processes = stats?.processes ?? [];
  const records = (main?.threads ?? []).flatMap(({ serving }) => serving ?? []);
  return {
    reactor: slot.index,
    state: slot.state.tag,
    pid: child?.pid ?? null,
    generation: child?.generation ?? null,
    allocator: slot.state.tag === 'ready' ? slot.state.allocator : null,
    uptimeSeconds: main === null ? null : (snapshot.takenMs - main.startedMs) / 1000,
    connections: connectionsOf(processes, layout),
    requests: sum(stats?.counters.requestsByMethod ?? []),
    rates: rates?.reactors.get(slot.index) ?? null,
    queueDepth: sum(processes.map(({ queueDepth }) => queueDepth)),
    allocatorBytes: allocatorBytesOf(processes),
    heartbeatAgeMs:
      main === null
        ? null
        : Math.min(snapshot.takenMs - awakeSinceMs, silenceOf(main, snapshot.takenMs)),
    serving: servingNotes(records, snapshot.takenMs),
    crashLoop: slot.state.tag === 'ready' ? null : (slot.history.loop?.reason ?? null),
    successors: successorOf(state, slot) === null ? 0 : 1,
    predecessors: predecessorsOf(state, slot).length,
  };
}

function connectionsOf(
  processes: readonly ProcessStats[],
  { connectionStates }: StatsLayout,
): Record<string, number> {
  return Object.fromEntries(
    connectionStates.map((name, i) => [
      name,
      sum(processes.map(({ connections }) => connections[i] ?? 0)),
    ]),
  );
}

function allocatorBytesOf(processes: readonly ProcessStats[]): AllocatorBytes | null {
  const known = processes.flatMap(({ memory }) => memory ?? []);
  if (known.length === 0) return null;
  return {
    allocated: sum(known.map(({ allocated }) => allocated)),
    resident: sum(known.map(({ resident }) => resident)),
  };
}

export function sum(values: readonly number[]): number {
  return values.reduce((all, value) => all + value, 0);
}
