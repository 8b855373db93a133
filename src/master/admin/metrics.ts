import type {
  SlotCounters,
  SlotStats,
  StatsLayout,
  StatsSnapshot,
} from '../../shared/native-stats.js';
import { type Family, histogramSamples, type Labels, type Sample } from './exposition.js';
import type { ProcessUsage } from './process-usage.js';
import type { Status } from './status.js';

/**
 * /metrics: the counters of the stats page, the state of the supervisor and the usage of the
 * processes, under the names of the OpenTelemetry HTTP conventions, `process_` of the client
 * libraries, or `moonring_`. Pure.
 */
export interface MetricsInputs {
  readonly status: Status;
  readonly snapshot: StatsSnapshot;
  readonly layout: StatsLayout;
  readonly build: Readonly<Record<'version' | 'luajit' | 'llhttp' | 'node', string>>;
  readonly processes: readonly ProcessUsage[];
}

/** Attributes of the OpenTelemetry HTTP conventions. */
const METHOD_LABEL = 'http_request_method';
const STATUS_LABEL = 'http_response_status_code';
const STATUS_CLASSES = ['1xx', '2xx', '3xx', '4xx', '5xx'];

export function metricFamilies(inputs: MetricsInputs): Family[] {
  return [
    ...requestFamilies(inputs),
    ...connectionFamilies(inputs),
    ...masterFamilies(inputs),
    ...processFamilies(inputs),
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
    {
      name: 'http_server_active_requests',
      type: 'gauge',
      help: 'Requests that are being received, handled or responded to.',
      samples: [{ labels: {}, value: activeRequests(slots, layout) }],
    },
    {
      name: 'moonring_requests_total',
      type: 'counter',
      help: 'Requests that reached the application, by method.',
      samples: named(METHOD_LABEL, layout.methods, totals(slots, 'requestsByMethod')),
    },
    {
      name: 'moonring_responses_total',
      type: 'counter',
      help: 'Responses by class of the status, refusals included.',
      samples: named(STATUS_LABEL, STATUS_CLASSES, totals(slots, 'responsesByClass')),
    },
    {
      name: 'moonring_refusals_total',
      type: 'counter',
      help: 'Requests that the server refused before they reached the application, by status.',
      samples: named(STATUS_LABEL, layout.refusals.map(String), totals(slots, 'refusals')),
    },
    counter(
      slots,
      'moonring_handler_errors_total',
      'handlerErrors',
      'Errors that handlers raised.',
    ),
    {
      name: 'moonring_timeouts_total',
      type: 'counter',
      help: 'Deadlines that passed, by phase.',
      samples: named('phase', layout.timeouts, totals(slots, 'timeouts')),
    },
    counter(
      slots,
      'moonring_client_aborts_total',
      'clientAborts',
      'Connections that the client reset before it had its response.',
    ),
    counter(slots, 'moonring_received_bytes_total', 'bytesIn', 'Bytes read from clients.'),
    counter(slots, 'moonring_sent_bytes_total', 'bytesOut', 'Bytes written to clients.'),
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
  return [
    {
      name: 'moonring_connections',
      type: 'gauge',
      help: 'Open connections by reactor and state.',
      samples: slots.flatMap((slot) =>
        layout.connectionStates.map((state, i) => {
          const value = sum(slot.processes.map(({ connections }) => connections[i] ?? 0));
          return { labels: { reactor: slot.slot, state }, value };
        }),
      ),
    },
    eachSlot(slots, 'moonring_connections_accepted_total', 'accepted', 'Connections accepted.'),
    {
      name: 'moonring_connections_rejected_total',
      type: 'counter',
      help: 'Connections that were not served: limit is max-connections; descriptors counts pauses because none was free.',
      samples: [
        { labels: { reason: 'limit' }, value: total(slots, 'rejectedLimit') },
        { labels: { reason: 'descriptors' }, value: total(slots, 'rejectedDescriptors') },
      ],
    },
    {
      name: 'moonring_connections_moved_total',
      type: 'counter',
      help: 'Connections handed from one reactor process to another.',
      samples: [
        { labels: { direction: 'out' }, value: total(slots, 'movedOut') },
        { labels: { direction: 'in' }, value: total(slots, 'movedIn') },
      ],
    },
    {
      name: 'moonring_pool_queue_depth',
      type: 'gauge',
      help: 'Requests that wait for a worker thread.',
      samples: slots.map((slot) => {
        const value = sum(slot.processes.map(({ queueDepth }) => queueDepth));
        return { labels: { reactor: slot.slot }, value };
      }),
    },
    allocatorFamily(status),
    counter(
      slots,
      'moonring_access_log_lines_lost_total',
      'logLinesLost',
      'Access log lines that could not be written.',
    ),
    {
      name: 'moonring_boss_connections_total',
      type: 'counter',
      help: 'Connections that passed through the master: accepted by it, relayed between reactors, lost.',
      samples: (['accepted', 'relayed', 'lost'] as const).map((kind) => {
        return { labels: { kind }, value: status.boss[kind] };
      }),
    },
    {
      name: 'moonring_boss_held_connections',
      type: 'gauge',
      help: 'Connections in the master that wait for a reactor.',
      samples: [{ labels: {}, value: status.boss.held }],
    },
  ];
}

/** No samples without jemalloc. */
function allocatorFamily({ reactors }: Status): Family {
  return {
    name: 'moonring_allocator_bytes',
    type: 'gauge',
    help: 'Memory of the reactor as jemalloc counts it: allocated by the reactor, resident in jemalloc.',
    samples: reactors.flatMap(({ reactor, allocatorBytes }) =>
      Object.entries(allocatorBytes ?? {}).map(([kind, value]) => {
        return { labels: { reactor, kind }, value };
      }),
    ),
  };
}

function masterFamilies({ status, build }: MetricsInputs): Family[] {
  const reactors = status.reactors;
  return [
    {
      name: 'moonring_build_info',
      type: 'gauge',
      help: 'Always 1; the labels say what runs.',
      samples: [{ labels: build, value: 1 }],
    },
    gauge('moonring_uptime_seconds', 'Seconds since the master started.', status.uptimeSeconds),
    gauge('moonring_ready', '1 while the server is ready, else 0.', status.ready ? 1 : 0),
    {
      name: 'moonring_reactors',
      type: 'gauge',
      help: 'Reactors by state; failed ones are in a crash loop and retried.',
      samples: ['ready', 'starting', 'draining', 'backoff', 'failed'].map((state) => {
        return { labels: { state }, value: reactors.filter((each) => each.state === state).length };
      }),
    },
    {
      name: 'moonring_reactor_up',
      type: 'gauge',
      help: '1 if the reactor serves, else 0.',
      samples: reactors.map(({ reactor, state }) => {
        return { labels: { reactor }, value: state === 'ready' ? 1 : 0 };
      }),
    },
    gauge('moonring_min_reactors', 'Reactors that must be up for readiness.', status.minReactors),
    {
      name: 'moonring_reactor_crash_loop',
      type: 'gauge',
      help: '1 if the reactor is in a crash loop, else 0.',
      samples: reactors.map(({ reactor, crashLoop }) => {
        return { labels: { reactor }, value: crashLoop === null ? 0 : 1 };
      }),
    },
    {
      name: 'moonring_reactor_heartbeat_age_seconds',
      type: 'gauge',
      help: 'Age of the last heartbeat of the I/O thread of the reactor, in seconds.',
      samples: reactors.flatMap(({ reactor, heartbeatAgeMs }) =>
        heartbeatAgeMs === null ? [] : [{ labels: { reactor }, value: heartbeatAgeMs / 1000 }],
      ),
    },
    {
      name: 'moonring_reactor_restarts_total',
      type: 'counter',
      help: 'Reactor processes that ended unexpectedly, by reason: signal, exit code, stuck, or before they were ready.',
      samples: Object.entries(status.restarts).map(([reason, value]) => {
        return { labels: { reason }, value };
      }),
    },
    {
      name: 'moonring_handler_generation',
      type: 'gauge',
      help: 'Generation of handler and settings, incremented by each reload.',
      samples: reactors.flatMap(({ reactor, generation }) =>
        generation === null ? [] : [{ labels: { reactor }, value: generation }],
      ),
    },
    {
      name: 'moonring_handler_reloads_total',
      type: 'counter',
      help: 'Reloads by result.',
      samples: Object.entries(status.reloads).map(([result, value]) => {
        return { labels: { result }, value };
      }),
    },
  ];
}

/** The families of the client libraries; the label tells the processes of this server apart. */
function processFamilies({ processes }: MetricsInputs): Family[] {
  const family = (
    name: string,
    type: 'counter' | 'gauge',
    help: string,
    key: UsageName,
  ): Family => ({
    name,
    type,
    help,
    samples: processes.flatMap((usage) => {
      // No limit, or the process is ending.
      const value = usage[key];
      return Number.isFinite(value) ? [{ labels: { process: usage.process }, value }] : [];
    }),
  });
  return [
    family('process_cpu_user_seconds_total', 'counter', 'User CPU time.', 'cpuUserSeconds'),
    family('process_cpu_system_seconds_total', 'counter', 'System CPU time.', 'cpuSystemSeconds'),
    family('process_cpu_seconds_total', 'counter', 'User and system CPU time.', 'cpuSeconds'),
    family('process_start_time_seconds', 'gauge', 'Start, as Unix time.', 'startTimeSeconds'),
    family('process_resident_memory_bytes', 'gauge', 'Resident memory.', 'residentBytes'),
    family('process_virtual_memory_bytes', 'gauge', 'Virtual memory.', 'virtualBytes'),
    family('process_open_fds', 'gauge', 'Open file descriptors.', 'openFds'),
    family('process_max_fds', 'gauge', 'Limit of open file descriptors.', 'maxFds'),
  ];
}

type UsageName = Exclude<keyof ProcessUsage, 'process'>;

function counter(
  slots: readonly SlotStats[],
  name: string,
  key: CounterName,
  help: string,
): Family {
  return { name, type: 'counter', help, samples: [{ labels: {}, value: total(slots, key) }] };
}

function eachSlot(
  slots: readonly SlotStats[],
  name: string,
  key: CounterName,
  help: string,
): Family {
  const samples = slots.map(({ slot, counters }) => {
    return { labels: { reactor: slot }, value: counters[key] };
  });
  return { name, type: 'counter', help, samples };
}

function gauge(name: string, help: string, value: number, labels: Labels = {}): Family {
  return { name, type: 'gauge', help, samples: [{ labels, value }] };
}

function named(label: string, names: readonly string[], values: readonly number[]): Sample[] {
  return names.map((name, i) => ({ labels: { [label]: name }, value: values[i] ?? 0 }));
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

function sum(values: readonly number[]): number {
  return values.reduce((all, value) => all + value, 0);
}
