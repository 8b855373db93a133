import { existsSync, readdirSync, readFileSync } from 'node:fs';
import t from 'tap';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';

const STATUS = '/proc/self/status';
const noTasks = existsSync(STATUS) ? false : 'threads are looked at in /proc';
const PROCESSES = 3;

/** The CPUs of a list such as 0-2,5. */
function allowedIn(statusPath: string): number[] {
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync(statusPath, 'utf8'))?.[1] ?? '';
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

/** The CPUs on which each thread of the process may run. */
function allowedByThread(pid: number): number[][] {
  const tasks = `/proc/${pid}/task`;
  return readdirSync(tasks).map((thread) => allowedIn(`${tasks}/${thread}/status`));
}

t.test('--pin pins one thread of each reactor, in turn', { skip: noTasks }, async (t) => {
  const allowed = allowedIn(STATUS);
  if (allowed.length < 2) t.comment('one processor: bound and free look the same');
  const args = ['--pin', '--dispatch', 'worker', '--accept', 'boss'];
  const server = await startServer(t, { processes: PROCESSES, args });
  // Round robin: each reactor serves one request, and has then started a worker.
  for (let i = 0; i < PROCESSES; i++) {
    const client = await connectRaw(t, server);
    t.equal((await client.request(requestText('/'))).status, 200);
  }
  const bound = server.reactorPids().map((pid) => {
    const narrow = allowedByThread(pid).filter((each) => each.length < allowed.length);
    t.equal(narrow.length, allowed.length < 2 ? 0 : 1, 'only the IO thread is bound');
    return narrow[0] ?? allowed;
  });
  const expected = bound.map((_, slot) => [allowed[slot % allowed.length] ?? -1]);
  t.strictSame(bound.sort(), expected.sort());
  t.strictSame(await server.stop(), { code: 0, signal: null });
});

t.test('without --pin no thread is pinned', { skip: noTasks }, async (t) => {
  const allowed = allowedIn(STATUS);
  const server = await startServer(t);
  const [pid = 0] = server.reactorPids();
  for (const each of allowedByThread(pid)) t.strictSame(each, allowed);
});
