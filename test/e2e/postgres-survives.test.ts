import t from 'tap';
import { survive } from './postgres-faults.js';
import { postgresPrograms } from './postgres-server.js';

/** A second on an idle machine, which test/load/postgres-soak.test.ts requires. */
const RECOVERY_MS = 30_000;

const skip = postgresPrograms ? false : 'PostgreSQL is not installed';

t.test('faults of the database under load', { skip, timeout: 300_000 }, async (t) => {
  await survive(t, 1, (what, ms, usualMs) =>
    t.ok(ms < RECOVERY_MS + 2 * usualMs, `${what}: ${ms.toFixed(0)} ms`),
  );
});
