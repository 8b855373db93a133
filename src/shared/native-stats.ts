/**
 * The stats page: shared memory in which each reactor writes its own figures and which only the
 * master reads. Times are milliseconds of the monotonic clock (`monotonicMs`), sizes bytes.
 */
export interface StatsLayout {
  readonly version: number;
  readonly methods: readonly string[];
  /** Upper bounds in seconds. */
  readonly latencyBuckets: readonly number[];
  /** Statuses of refusals by parser and server. */
  readonly refusals: readonly number[];
  readonly timeouts: readonly string[];
  readonly connectionStates: readonly string[];
  /** Processes of one slot that may live at the same time. */
  readonly sidesPerSlot: number;
  readonly threadsPerSide: number;
}

export interface NativeStatsPage {
  /** Inherited by reactors; owned by the page. */
  readonly fd: number;
  /** Never blocks and asks no reactor. */
  read(): StatsSnapshot;
  /** The handlers' own metrics, per process that has or had some: those of one name belong together. */
  readMetrics(): OwnMetric[];
  /** What each thread of a process was serving when it stopped. */
  readServing(slot: number, side: number): ServingRecord[];
  /** After the process of that side has exited: clears its gauges. Counters stay. */
  resetSide(slot: number, side: number): void;
  close(): void;
}

export interface StatsSnapshot {
  readonly takenMs: number;
  readonly slots: readonly SlotStats[];
}

export interface SlotStats {
  readonly slot: number;
  /** Of all processes that ever served the slot; they never go down. */
  readonly counters: SlotCounters;
  /** Those that live, and those not yet reset. */
  readonly processes: readonly ProcessStats[];
}

/** Arrays are in the order of the layout's names. */
export interface SlotCounters {
  /** 1xx to 5xx. */
  readonly responsesByClass: readonly number[];
  readonly requestsByMethod: readonly number[];
  /** Without those that are empty. */
  readonly latencies: readonly LatencyHistogram[];
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly accepted: number;
  readonly rejectedLimit: number;
  readonly rejectedDescriptors: number;
  readonly rejectedProxy: number;
  readonly refusals: readonly number[];
  readonly handlerErrors: number;
  readonly timeouts: readonly number[];
  readonly clientAborts: number;
  readonly movedOut: number;
  readonly movedIn: number;
  readonly logLinesLost: number;
}

/** Of responses to a method with a status of a class; both are positions among the names. */
export interface LatencyHistogram {
  readonly method: number;
  readonly statusClass: number;
  /** Not cumulative; the last one is beyond all bounds. */
  readonly counts: readonly number[];
  readonly sumSeconds: number;
}

export interface ProcessStats {
  readonly side: number;
  readonly pid: number;
  readonly generation: number;
  readonly startedMs: number;
  readonly connections: readonly number[];
  readonly queueDepth: number;
  /** By jemalloc's count, at the last heartbeat; `null` without it. */
  readonly memory: AllocatorBytes | null;
  /** Those that have run; the first is the I/O thread. */
  readonly threads: readonly ThreadStats[];
}

export interface AllocatorBytes {
  /** What the process has of the allocator. */
  readonly allocated: number;
  /** What the allocator has of the system. */
  readonly resident: number;
}

export interface ThreadStats {
  readonly thread: number;
  readonly heartbeatMs: number;
  readonly serving: ServingRecord | null;
}

/** A metric that a handler has made with moonring.metrics, as one process counts it. */
export interface OwnMetric {
  readonly name: string;
  readonly help: string;
  readonly kind: 'counter' | 'gauge' | 'histogram';
  /** Names. */
  readonly labels: readonly string[];
  /** Upper bounds of a histogram. */
  readonly bounds: readonly number[];
  readonly series: readonly OwnSeries[];
}

export interface OwnSeries {
  /** In the order of the labels. */
  readonly values: readonly string[];
  /** One number; of a histogram the counts of its buckets, not cumulative, and the sum. */
  readonly cells: readonly number[];
}

export interface ServingRecord {
  readonly thread: number;
  readonly method: string;
  /** The start of the request target. */
  readonly path: string;
  readonly startedMs: number;
}

export interface BossOptions {
  /** Capacity. */
  readonly slots: number;
  /** Borrowed. Empty: it only relays connections that reactors hand over. */
  readonly listenFds: readonly number[];
  readonly policy: 'round-robin' | 'least';
  readonly stats: NativeStatsPage | null;
}

export interface NativeBoss {
  /** One a slot: the reactor's end. Both ends stay open here, so nothing queued is lost. */
  readonly inboxFds: readonly number[];
  start(): void;
  /** Only slots that are up get connections. */
  setUp(slot: number, up: boolean): void;
  /** What waits for a slot that will not be served again goes to others. */
  reclaim(slot: number): void;
  /** Passes on what waits in the backlog, then accepts nothing more. */
  closeListeners(): void;
  counters(): BossCounters;
  stop(): void;
}

export interface BossCounters {
  readonly accepted: number;
  readonly passed: readonly number[];
  readonly relayed: number;
  readonly held: number;
  readonly lost: number;
  readonly pauses: number;
}
