import { fstatSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { openLog } from '../../../../src/master/log/log.js';

const OPTIONS = { level: 'info', terminal: null } as const;

/** Writes like the addon, and records where to. */
function writer() {
  const seen = new Set<number>();
  const openLines = (fd: number) => (lines: Buffer) => {
    seen.add(fd);
    return writeSync(fd, lines);
  };
  return { seen, openLines };
}

t.test('a closed log releases its descriptor and its listener', async (t) => {
  const file = join(t.testdir(), 'server.log');
  const before = process.listenerCount('exit');
  const native = writer();
  const log = openLog(native, { ...OPTIONS, file });
  log.log('info', {}, 'one');
  log.reopen();
  log.log('info', {}, 'two');
  log.close();
  t.equal(process.listenerCount('exit'), before);
  t.not(native.seen.size, 0);
  for (const fd of native.seen) t.throws(() => fstatSync(fd), { code: 'EBADF' });
  log.log('info', {}, 'too late');
  log.reopen();
  log.close();
  t.match(readFileSync(file, 'utf8'), /^.*"one"\}\n.*"two"\}\n$/);
});
