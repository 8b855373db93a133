import type { MetricsInputs } from '../../../../src/master/admin/metrics.js';
import type { ProcessUsage } from '../../../../src/master/admin/process-usage.js';
import { type Status, statusOf } from '../../../../src/master/admin/status.js';
import type { StatsLayout, StatsSnapshot } from '../../../../src/shared/native-stats.js';
import { driveServing } from '../supervisor/driver.js';

export const statsLayout: StatsLayout = {
  version: 1,
  methods: ['GET', '_OTHER'],
  latencyBuckets: [0.001, 1],
  refusals: [400, 503],
  timeouts: ['header', 'body'],
  connectionStates: ['idle', 'reading', 'handling', 'writing', 'lingering', 'websocket'],
  websocketCodes: [1000, 3000, 0],
  sidesPerSlot: 4,
  threadsPerSide: 17,
};

/** Two reactors; the second has been silent for longer. */
export const snapshot: StatsSnapshot = {
  takenMs: 10_000,
  slots: [0, 1].map((slot) => ({
    slot,
    counters: {
      responsesByClass: [0, 10, 0, 1, 0],
      requestsByMethod: [10 + 10 * slot, 1],
      latencies: [
        { method: 0, statusClass: 1, counts: [8, 1, 0], sumSeconds: 0.25 },
        { method: 1, statusClass: 3, counts: [0, 1, slot], sumSeconds: 0.5 },
      ],
      bytesIn: 1000,
      bytesOut: 2000,
      accepted: 5,
      rejectedLimit: 0,
      rejectedDescriptors: 0,
      rejectedProxy: 0,
      rejectedHandshake: 0,
      tlsHandshakes: 0,
      tlsResumed: 0,
      tlsFailed: 0,
      refusals: [1, 0],
      handlerErrors: 0,
      timeouts: [0, 0],
      clientAborts: 0,
      movedOut: 0,
      movedIn: 0,
      logLinesLost: 0,
      websocketsOpened: 6,
      websocketsClosed: [1, 2, 0],
      websocketMessagesIn: 7,
      websocketMessagesOut: 8,
      websocketBytesIn: 70,
      websocketBytesOut: 80,
      websocketsSlow: 1,
      websocketMessagesSkipped: 2,
    },
    processes: [
      {
        side: 0,
        pid: 100 + slot,
        generation: 1,
        startedMs: 9000,
        connections: [4, 1, 1, 1, 0, 3],
        queueDepth: 0,
        memory: slot === 0 ? { allocated: 1000, resident: 3000 } : null,
        threads: [
          {
            thread: 0,
            heartbeatMs: 9900 - slot * 900,
            serving: { thread: 0, method: 'GET', path: '/slow', startedMs: 9800 },
          },
        ],
      },
    ],
  })),
};

const BOSS = { accepted: 3, passed: [2, 1], relayed: 1, held: 0, lost: 0, pauses: 0 };

export function status(): Status {
  return statusOf({
    state: driveServing(2).state(),
    snapshot,
    layout: statsLayout,
    boss: BOSS,
    rates: null,
    accept: 'boss',
    version: '1.2.3',
    pid: 4711,
    nowMs: 5000,
    startedAtMs: 1000,
    awakeSinceMs: 0,
    shared: [
      {
        name: 'cache',
        sizeBytes: 1024,
        usedBytes: 300,
        freeBytes: 600,
        entries: 7,
        evictions: 5,
        expirations: 4,
        refusals: 3,
        repairs: 2,
        maxValueBytes: 100,
      },
    ],
    spans: { sent: 40, lost: 2 },
    topicCounters: (slot) =>
      slot === 'master'
        ? { published: 9, delivered: 0, lost: 0, subscribers: 1 }
        : { published: slot, delivered: 9, lost: 2, subscribers: 3 },
    tls: {
      port: 8443,
      certificates: [
        {
          path: '/cert.pem',
          names: ['example.org'],
          serial: '0a',
          notAfter: '2027-01-01T00:00:00.000Z',
          notAfterSeconds: 1_798_761_600,
        },
      ],
    },
  });
}

const build = { version: '1', luajit: 'a"b', llhttp: 'c\\d', openssl: '3', node: 'e\nf' };
const usage: ProcessUsage = {
  process: 'reactor-0',
  cpuUserSeconds: 1.5,
  cpuSystemSeconds: 0.5,
  cpuSeconds: 2,
  startTimeSeconds: 1_700_000_000,
  residentBytes: 4096,
  virtualBytes: 8192,
  openFds: 20,
  maxFds: Number.NaN,
};

/** With TLS and a shared dictionary: every family has samples. */
export function metricsInputs(): MetricsInputs {
  const processes = [usage];
  return { status: status(), snapshot, own: [], layout: statsLayout, build, processes };
}
