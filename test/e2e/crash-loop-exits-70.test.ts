import t from 'tap';
import { statusOf } from './admin-client.js';
import { isRunning } from './process-table.js';
import { type Server, startServer } from './server.js';
import { until } from './until.js';

/** Kills reactors as soon as they exist, until `isDone`; except the pids in `spared`. */
async function keepKilling(server: Server, spared: readonly number[], isDone: () => boolean) {
  while (!isDone()) {
    const victim = await until('a reactor to kill', () =>
      isDone() ? -1 : server.reactorPids().find((pid) => !spared.includes(pid)),
    );
    if (victim > 0) kill(victim);
    await until('it has ended', () => !isRunning(victim));
  }
}

/** The master may be ending it, too. */
function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

t.test(
  'a crash loop is its slot’s; the last one ends the server',

  async (t) => {
    const server = await startServer(t, { processes: 2 });
    const [steady = 0] = server.reactorPids();
    const loops = () =>
      server.logs.filter(({ msg }) => msg.startsWith('reactor is in a crash loop'));
    await keepKilling(server, [steady], () => loops().length > 0);
    t.match(loops(), [{ reason: /^(crashed|did not start) \d+ times/ }]);
    t.ok(isRunning(steady));
    t.equal((await fetch(server.url)).status, 200, 'the other reactor serves');
    t.equal((await fetch(`${server.admin}/readyz`)).status, 200);
    await until('the status says so', async () => {
      const { reactors } = await statusOf(server);
      // Or it is ready again: then kill it once more.
      for (const { pid } of reactors) if (pid && pid !== steady) kill(pid);
      return reactors.some(({ crashLoop }) => crashLoop !== null);
    });

    let ended = false;
    void server.exited.then(() => (ended = true));
    await keepKilling(server, [], () => ended);
    t.strictSame(await server.exited, { code: 70, signal: null });
    const last = await server.logLine('why', (line) => line.level === 60);
    t.match(
      last.msg,
      /^reactor \d (crashed|did not start) \d+ times .*; the last time: was killed/,
    );
  },
);

t.test('with --min-reactors readiness needs that many', async (t) => {
  const args = ['--min-reactors', '2'];
  const server = await startServer(t, { processes: 2, args });
  const [steady = 0] = server.reactorPids();
  t.equal((await fetch(`${server.admin}/readyz`)).status, 200);
  // Until the response: two seconds later it could be ready again.
  let answer: string | null = null;
  const asked = server
    .logLine('the loop', ({ msg }) => msg.startsWith('reactor is in a crash loop'))
    .then(() => fetch(`${server.admin}/readyz`))
    .then(async (response) => {
      answer = `${response.status} ${await response.text()}`;
    });
  await keepKilling(server, [steady], () => answer !== null);
  await asked;
  t.equal(answer, '503 not ready: serving, 1 of 2 reactors are ready and 2 must be\n');
});
