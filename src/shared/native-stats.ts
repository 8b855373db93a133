/**
 * The stats page: shared memory to which each reactor writes its own figures and which only the
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
  /** With which WebSockets were closed: 3000 stands for those above, 0 for all others. */
  readonly websocketCodes: readonly number[];
  readonly connectionStates: readonly string[];
  /** Processes of one slot that may live at the same time. */
  readonly sidesPerSlot: number;
  readonly threadsPerSide: number;
}

export interface NativeStatsPage {
  /** Inherited by reactors; owned by the page. */
  readonly fd: number;
  /** Never blocks and does not involve reactors. */
  read(): StatsSnapshot;
  /** The handlers' own metrics, per process that has or had any: those with the same name belong
   * together. */
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
  /** Of all processes that ever served the slot; they never decrease. */
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
  readonly rejectedHandshake: number;
  readonly tlsHandshakes: number;
  /** Of these, those that resumed an earlier session. */
  readonly tlsResumed: number;
  readonly tlsFailed: number;
  readonly refusals: readonly number[];
  readonly handlerErrors: number;
  readonly timeouts: readonly number[];
  readonly clientAborts: number;
  readonly movedOut: number;
  readonly movedIn: number;
  readonly logLinesLost: number;
  readonly websocketsOpened: number;
  readonly websocketsClosed: readonly number[];
  readonly websocketMessagesIn: number;
  readonly websocketMessagesOut: number;
  /** Of messages, without framing and before compression. */
  readonly websocketBytesIn: number;
  readonly websocketBytesOut: number;
  /** Closed because the client took too little. */
  readonly websocketsSlow: number;
  /** Of rooms, not sent because the client took too little. */
  readonly websocketMessagesSkipped: number;
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
  /** According to jemalloc, at the last heartbeat; `null` without it. */
  readonly memory: AllocatorBytes | null;
  /** Those that have run; the first is the I/O thread. */
  readonly threads: readonly ThreadStats[];
}

export interface AllocatorBytes {
  /** Allocated by the process from the allocator. */
  readonly allocated: number;
  /** Obtained by the allocator from the system. */
  readonly resident: number;
}

export interface ThreadStats {
  readonly thread: number;
  readonly heartbeatMs: number;
  readonly serving: ServingRecord | null;
}

/** A metric declared by a handler with moonring.metrics, as counted by one process. */
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
  /** One per slot: the reactor's end. Both ends stay open here, so nothing queued is lost. */
  readonly inboxFds: readonly number[];
  start(): void;
  /** Only slots that are up get connections. `pid` of the process that serves it. */
  setUp(slot: number, up: boolean, pid: number): void;
  /** Connections waiting for a slot that will not be served again go to others. */
  reclaim(slot: number): void;
  /** Passes on connections waiting in the backlog, then accepts nothing more. */
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
