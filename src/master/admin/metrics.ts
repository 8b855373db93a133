import type { DictionaryStats } from '../../shared/native-shared.js';
import type {
  OwnMetric,
  SlotCounters,
  SlotStats,
  StatsLayout,
  StatsSnapshot,
} from '../../shared/native-stats.js';
import type { TopicCounters } from '../../shared/native-topics.js';
import { type Family, histogramSamples, type Labels, type Sample } from './exposition.js';
import { ownFamilies } from './own-metrics.js';
import type { ProcessUsage } from './process-usage.js';
import { type ReactorStatus, type Status, sum } from './status.js';

/**
 * /metrics: the counters of the stats page, the state of the supervisor and the usage of the
 * processes, under the names of the OpenTelemetry HTTP conventions, `process_` of the client
 * libraries, or `moonring_`; and the handlers' own metrics. Pure.
 */
export interface MetricsInputs {
  readonly status: Status;
  readonly snapshot: StatsSnapshot;
  readonly own: readonly OwnMetric[];
  readonly layout: StatsLayout;
  readonly build: Readonly<Record<'version' | 'luajit' | 'llhttp' | 'openssl' | 'node', string>>;
  readonly processes: readonly ProcessUsage[];
}

/** Attributes of the OpenTelemetry HTTP conventions. */
const METHOD_LABEL = 'http_request_method';
const STATUS_LABEL = 'http_response_status_code';
const STATUS_CLASSES = ['1xx', '2xx', '3xx', '4xx', '5xx'];

const SLOT_STATES = ['ready', 'starting', 'draining', 'backoff', 'failed'];

export function metricFamilies(inputs: MetricsInputs): Family[] {
  return [
    ...requestFamilies(inputs),
    ...connectionFamilies(inputs),
    ...masterFamilies(inputs),
    ...sharedFamilies(inputs),
    ...topicFamilies(inputs),
    ...processFamilies(inputs),
    ...ownFamilies(inputs.own),
  ];
}

type CounterName = {
  [K in keyof SlotCounters]: SlotCounters[K] extends number ? K : never;
}[keyof SlotCounters];
type ListName = Exclude<keyof SlotCounters, CounterName | 'latencies'>;

function requestFamilies({ snapshot, layout }: MetricsInputs): Family[] {
  const { slots } = snapshot;
  return [
    {
      name: 'http_server_request_duration_seconds',
      type: 'histogram',
      help: 'Seconds from the first byte of a request to the last byte of its response in the kernel, by method and class of the status.',
      samples: latencySamples(slots, layout),
    },
    gauge(
      'http_server_active_requests',
      'Requests that are being received or handled, or whose response is being sent.',
      activeRequests(slots, layout),
    ),
    counter(
      'moonring_requests_total',
      'Requests that reached the application, by method.',
      named(METHOD_LABEL, layout.methods, totals(slots, 'requestsByMethod')),
    ),
    counter(
      'moonring_responses_total',
      'Responses by class of the status, refusals included.',
      named(STATUS_LABEL, STATUS_CLASSES, totals(slots, 'responsesByClass')),
    ),
    counter(
      'moonring_refusals_total',
      'Requests that the server refused before they reached the application, by status.',
      named(STATUS_LABEL, layout.refusals.map(String), totals(slots, 'refusals')),
    ),
    counter(
      'moonring_handler_errors_total',
      'Errors raised by handlers.',
      total(slots, 'handlerErrors'),
    ),
    counter(
      'moonring_timeouts_total',
      'Timeouts, by phase.',
      named('phase', layout.timeouts, totals(slots, 'timeouts')),
    ),
    counter(
      'moonring_client_aborts_total',
      'Connections that the client reset before it had received its response.',
      total(slots, 'clientAborts'),
    ),
    counter('moonring_received_bytes_total', 'Bytes read from clients.', total(slots, 'bytesIn')),
    counter('moonring_sent_bytes_total', 'Bytes written to clients.', total(slots, 'bytesOut')),
  ];
}

/** A histogram per method and class, over all slots. */
function latencySamples(slots: readonly SlotStats[], layout: StatsLayout): Sample[] {
  const all = slots.flatMap(({ counters }) => counters.latencies);
  return layout.methods.flatMap((method, m) =>
    STATUS_CLASSES.flatMap((status, s) => {
      const series = all.filter((each) => each.method === m && each.statusClass === s);
      if (series.length === 0) return [];
      const labels = { [METHOD_LABEL]: method, [STATUS_LABEL]: status };
      return histogramSamples(layout.latencyBuckets, labels, {
        counts: sumOfLists(series.map(({ counts }) => counts)),
        sum: sum(series.map(({ sumSeconds }) => sumSeconds)),
      });
    }),
  );
}

function connectionFamilies({ status, snapshot, layout }: MetricsInputs): Family[] {
  const { slots } = snapshot;
  const { accepted, relayed, lost } = status.boss;
  return [
    gauge(
      'moonring_connections',
      'Open connections by reactor and state.',
      slots.flatMap((slot) =>
        layout.connectionStates.map((state, i) => {
          const value = sum(slot.processes.map(({ connections }) => connections[i] ?? 0));
          return sample({ reactor: slot.slot, state }, value);
        }),
      ),
    ),
    counter(
      'moonring_connections_accepted_total',
      'Connections accepted.',
      slots.map(({ slot, counters }) => sample({ reactor: slot }, counters.accepted)),
    ),
    counter(
      'moonring_connections_rejected_total',
      'Connections that were not served: limit: max-connections; descriptors: pauses because no descriptor was free; proxy: a PROXY header that is missing, malformed or not from a trusted proxy; handshakes: tls-handshakes.',
      perKey('reason', {
        limit: total(slots, 'rejectedLimit'),
        descriptors: total(slots, 'rejectedDescriptors'),
        proxy: total(slots, 'rejectedProxy'),
        handshakes: total(slots, 'rejectedHandshake'),
      }),
    ),
    ...tlsMetrics(status, slots),
    ...webSocketMetrics(slots, layout),
    counter(
      'moonring_connections_moved_total',
      'Connections handed from one reactor process to another.',
      perKey('direction', {
        out: total(slots, 'movedOut'),
        in: total(slots, 'movedIn'),
      }),
    ),
    gauge(
      'moonring_pool_queue_depth',
      'Requests waiting for a worker thread.',
      slots.map(({ slot, processes }) =>
        sample({ reactor: slot }, sum(processes.map(({ queueDepth }) => queueDepth))),
      ),
    ),
    gauge(
      'moonring_allocator_bytes',
      'Memory of the reactor according to jemalloc: allocated by the reactor, resident in jemalloc.',
      // None without jemalloc.
      status.reactors.flatMap(({ reactor, allocatorBytes }) =>
        Object.entries(allocatorBytes ?? {}).map(([kind, value]) =>
          sample({ reactor, kind }, value),
        ),
      ),
    ),
    counter(
      'moonring_access_log_lines_lost_total',
      'Access log lines and spans that could not be written.',
      total(slots, 'logLinesLost'),
    ),
    ...spanMetrics(status),
    counter(
      'moonring_boss_connections_total',
      'Connections that passed through the master: accepted by it, relayed between reactors, lost.',
      perKey('kind', { accepted, relayed, lost }),
    ),
    gauge(
      'moonring_boss_held_connections',
      'Connections in the master waiting for a reactor.',
      status.boss.held,
    ),
  ];
}

function webSocketMetrics(slots: readonly SlotStats[], layout: StatsLayout): Family[] {
  const codes = layout.websocketCodes.map((code) =>
    code === 0 ? 'other' : code === 3000 ? 'application' : String(code),
  );
  return [
    counter(
      'moonring_websockets_opened_total',
      'WebSockets that were opened.',
      total(slots, 'websocketsOpened'),
    ),
    counter(
      'moonring_websockets_closed_total',
      'WebSockets that were closed, by code: 1005: no code, 1006: no Close frame, application: 3000 to 4999.',
      named('code', codes, totals(slots, 'websocketsClosed')),
    ),
    counter(
      'moonring_websocket_messages_total',
      'Messages over WebSockets.',
      perKey('direction', {
        in: total(slots, 'websocketMessagesIn'),
        out: total(slots, 'websocketMessagesOut'),
      }),
    ),
    counter(
      'moonring_websocket_bytes_total',
      'Bytes of messages over WebSockets, without framing and compression.',
      perKey('direction', {
        in: total(slots, 'websocketBytesIn'),
        out: total(slots, 'websocketBytesOut'),
      }),
    ),
    counter(
      'moonring_websocket_slow_consumers_total',
      'WebSockets that were closed because their client read too slowly.',
      total(slots, 'websocketsSlow'),
    ),
    counter(
      'moonring_websocket_skipped_messages_total',
      'Messages of rooms that were not sent because the client read too slowly.',
      total(slots, 'websocketMessagesSkipped'),
    ),
  ];
}

function spanMetrics({ spans }: Status): Family[] {
  if (spans === null) return [];
  return [
    counter(
      'moonring_spans_total',
      'Spans for the collector, by outcome: sent, or lost because the collector did not accept them or too many were queued.',
      perKey('outcome', { sent: spans.sent, lost: spans.lost }),
    ),
  ];
}

function tlsMetrics({ tls }: Status, slots: readonly SlotStats[]): Family[] {
  if (tls === null) return [];
  return [
    counter(
      'moonring_tls_handshakes_total',
      'TLS handshakes: full, resumed and failed.',
      perKey('outcome', {
        full: total(slots, 'tlsHandshakes') - total(slots, 'tlsResumed'),
        resumed: total(slots, 'tlsResumed'),
        failed: total(slots, 'tlsFailed'),
      }),
    ),
    gauge(
      'moonring_tls_certificate_expiry_timestamp_seconds',
      'When the certificate expires, in Unix time.',
      tls.certificates.map(({ path, serial, notAfterSeconds }) =>
        sample({ path, serial }, notAfterSeconds),
      ),
    ),
  ];
}

function masterFamilies({ status, build }: MetricsInputs): Family[] {
  const reactors = status.reactors;
  return [
    gauge('moonring_build_info', 'Always 1; the labels are the versions in use.', [
      sample(build, 1),
    ]),
    gauge('moonring_uptime_seconds', 'Seconds since the master started.', status.uptimeSeconds),
    gauge('moonring_ready', '1 while the server is ready, else 0.', status.ready ? 1 : 0),
    gauge(
      'moonring_reactors',
      'Reactors by state; failed ones are in a crash loop and are restarted later.',
      SLOT_STATES.map((state) =>
        sample({ state }, reactors.filter((each) => each.state === state).length),
      ),
    ),
    gauge(
      'moonring_reactor_up',
      '1 if the reactor is serving, else 0.',
      perReactor(reactors, ({ state }) => (state === 'ready' ? 1 : 0)),
    ),
    gauge('moonring_min_reactors', 'Reactors that must be up for readiness.', status.minReactors),
    gauge(
      'moonring_reactor_crash_loop',
      '1 if the reactor is in a crash loop, else 0.',
      perReactor(reactors, ({ crashLoop }) => (crashLoop === null ? 0 : 1)),
    ),
    gauge(
      'moonring_reactor_heartbeat_age_seconds',
      'Age of the last heartbeat of the I/O thread of the reactor, in seconds.',
      perReactor(reactors, ({ heartbeatAgeMs: ms }) => ms && ms / 1000),
    ),
    counter(
      'moonring_reactor_restarts_total',
      'Reactor processes that exited unexpectedly, by reason: signal, exit code, stuck, before they were ready, or over or near the memory limit.',
      perKey('reason', status.restarts),
    ),
    gauge(
      'moonring_memory_limit_bytes',
      'The --memory-limit of a reactor; 0: none.',
      status.memoryLimitBytes,
    ),
    gauge(
      'moonring_handler_generation',
      'Generation of the handler and settings, incremented by each reload.',
      perReactor(reactors, ({ generation }) => generation),
    ),
    counter(
      'moonring_handler_reloads_total',
      'Reloads by result.',
      perKey('result', status.reloads),
    ),
  ];
}

function topicFamilies({ status: { topics } }: MetricsInputs): Family[] {
  const samples = (key: keyof TopicCounters) =>
    topics.map((each) => sample({ process: each.process }, each[key]));
  return [
    gauge(
      'moonring_topic_subscribers',
      'Current subscribers of topics: Lua states, rooms of WebSockets, the program.',
      samples('subscribers'),
    ),
    counter(
      'moonring_topic_messages_published_total',
      'Messages published to topics.',
      samples('published'),
    ),
    counter(
      'moonring_topic_messages_delivered_total',
      'Messages delivered to subscribers.',
      samples('delivered'),
    ),
    counter(
      'moonring_topic_messages_lost_total',
      'Messages that were overwritten before a process had read them, for each topic that it is subscribed to.',
      samples('lost'),
    ),
  ];
}

function sharedFamilies({ status: { shared } }: MetricsInputs): Family[] {
  if (shared.length === 0) return [];
  const samples = (key: keyof DictionaryStats) =>
    shared.map((each) => sample({ dictionary: each.name }, each[key]));
  return [
    gauge('moonring_shared_size_bytes', 'Memory of a shared dictionary.', samples('sizeBytes')),
    gauge(
      'moonring_shared_used_bytes',
      'Memory used by entries, including expired ones.',
      samples('usedBytes'),
    ),
    gauge('moonring_shared_free_bytes', 'Memory for entries that is free.', samples('freeBytes')),
    gauge(
      'moonring_shared_entries',
      'Entries, including expired ones until their memory is reused.',
      samples('entries'),
    ),
    counter(
      'moonring_shared_evictions_total',
      'Entries evicted before they expired.',
      samples('evictions'),
    ),
    counter(
      'moonring_shared_expirations_total',
      'Expired entries whose memory was reused.',
      samples('expirations'),
    ),
    counter(
      'moonring_shared_refusals_total',
      'Calls that failed for lack of memory, mostly because the value was too large.',
      samples('refusals'),
    ),
    counter(
      'moonring_shared_repairs_total',
      'Repairs after a process was killed in the middle of a call.',
      samples('repairs'),
    ),
  ];
}

/** The families of the client libraries; the label tells the processes of this server apart. */
function processFamilies({ processes }: MetricsInputs): Family[] {
  const samples = (key: UsageName) =>
    processes.flatMap((usage) => {
      // No limit, or the process is ending.
      const value = usage[key];
      return Number.isFinite(value) ? [sample({ process: usage.process }, value)] : [];
    });
  return [
    counter('process_cpu_user_seconds_total', 'User CPU time.', samples('cpuUserSeconds')),
    counter('process_cpu_system_seconds_total', 'System CPU time.', samples('cpuSystemSeconds')),
    counter('process_cpu_seconds_total', 'User and system CPU time.', samples('cpuSeconds')),
    gauge('process_start_time_seconds', 'Start, as Unix time.', samples('startTimeSeconds')),
    gauge('process_resident_memory_bytes', 'Resident memory.', samples('residentBytes')),
    gauge('process_virtual_memory_bytes', 'Virtual memory.', samples('virtualBytes')),
    gauge('process_open_fds', 'Open file descriptors.', samples('openFds')),
    gauge('process_max_fds', 'Limit of open file descriptors.', samples('maxFds')),
  ];
}

type UsageName = Exclude<keyof ProcessUsage, 'process'>;

/** `samples` of a family without labels is its value. */
function counter(name: string, help: string, samples: readonly Sample[] | number): Family {
  return { name, type: 'counter', help, samples: samplesOf(samples) };
}

function gauge(name: string, help: string, samples: readonly Sample[] | number): Family {
  return { name, type: 'gauge', help, samples: samplesOf(samples) };
}

function samplesOf(samples: readonly Sample[] | number): readonly Sample[] {
  return typeof samples === 'number' ? [sample({}, samples)] : samples;
}

function sample(labels: Labels, value: number): Sample {
  return { labels, value };
}

/** One per reactor that has a value. */
function perReactor(
  reactors: readonly ReactorStatus[],
  measure: (reactor: ReactorStatus) => number | null,
): Sample[] {
  return reactors.flatMap((each) => {
    const value = measure(each);
    return value === null ? [] : [sample({ reactor: each.reactor }, value)];
  });
}

/** One per key, which is the label. */
function perKey(label: string, values: Readonly<Record<string, number>>): Sample[] {
  return Object.entries(values).map(([key, value]) => sample({ [label]: key }, value));
}

function named(label: string, names: readonly string[], values: readonly number[]): Sample[] {
  return names.map((name, i) => sample({ [label]: name }, values[i] ?? 0));
}

function activeRequests(slots: readonly SlotStats[], { connectionStates }: StatsLayout): number {
  const active = ['reading', 'handling', 'writing'].map((state) => connectionStates.indexOf(state));
  return sum(
    slots.flatMap(({ processes }) =>
      processes.flatMap(({ connections }) => active.map((i) => connections[i] ?? 0)),
    ),
  );
}

function total(slots: readonly SlotStats[], key: CounterName): number {
  return sum(slots.map(({ counters }) => counters[key]));
}

function totals(slots: readonly SlotStats[], key: ListName): number[] {
  return sumOfLists(slots.map(({ counters }) => counters[key]));
}

function sumOfLists(lists: readonly (readonly number[])[]): number[] {
  return (lists[0] ?? []).map((_, i) => sum(lists.map((list) => list[i] ?? 0)));
}
