import t from 'tap';
import { formatLogLine } from '../../../src/shared/logger.js';

t.test('a line is one JSON object and a newline, whatever it contains', async (t) => {
  const line = formatLogLine('warn', { nowMs: 5, pid: 7 }, { reactor: 1 }, 'two\nlines "quoted"');
  t.equal(line.indexOf('\n'), line.length - 1);
  t.strictSame(JSON.parse(line), {
    level: 40,
    time: 5,
    pid: 7,
    reactor: 1,
    msg: 'two\nlines "quoted"',
  });
});
