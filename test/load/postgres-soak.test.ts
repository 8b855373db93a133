import t from 'tap';
import { survive } from '../e2e/postgres-faults.js';
import { postgresPrograms } from '../e2e/postgres-server.js';

/* The faults of test/e2e/postgres-survives.test.ts, repeated. */

const ROUNDS = 12;
/** Twice the usual time of a request may be added. */
const RECOVERY_MS = 1000;

const skip = postgresPrograms ? false : 'PostgreSQL is not installed';

t.test('faults of the database, for minutes', { skip, timeout: 900_000 }, async (t) => {
  await survive(t, ROUNDS, (what, ms, usualMs) =>
    t.ok(ms < RECOVERY_MS + 2 * usualMs, `${what}: ${ms.toFixed(0)} ms`),
  );
});
