import type { StatsLayout, StatsSnapshot } from '../../../../src/shared/native-stats.js';

export const statsLayout: StatsLayout = {
  version: 1,
  methods: ['GET', '_OTHER'],
  latencyBuckets: [0.001, 1],
  refusals: [400, 503],
  timeouts: ['header', 'body'],
  connectionStates: ['idle', 'reading', 'handling', 'writing', 'lingering'],
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
      refusals: [1, 0],
      handlerErrors: 0,
      timeouts: [0, 0],
      clientAborts: 0,
      movedOut: 0,
      movedIn: 0,
      logLinesLost: 0,
    },
    processes: [
      {
        side: 0,
        pid: 100 + slot,
        generation: 1,
        startedMs: 9000,
        connections: [4, 1, 1, 1, 0],
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
