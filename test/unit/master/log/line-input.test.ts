import { PassThrough } from 'node:stream';
import t from 'tap';
import { LINE_BYTES_MAX, readLines } from '../../../../src/master/log/line-input.js';

function linesOf(chunks: readonly string[]): string[] {
  const stream = new PassThrough();
  const lines: string[] = [];
  readLines(stream, (line) => lines.push(line));
  for (const chunk of chunks) stream.emit('data', Buffer.from(chunk));
  stream.emit('end');
  return lines;
}

t.test('lines are reassembled, however they are split into chunks', async (t) => {
  t.strictSame(linesOf(['one\ntwo\r\n\nth', 'ree', '\nfo', 'ur']), [
    'one',
    'two',
    '',
    'three',
    'four',
  ]);
});

t.test('a line without end is truncated and its rest skipped', async (t) => {
  const chunk = 'x'.repeat(10_000);
  const [first = '', ...rest] = linesOf([...Array(1000).fill(chunk), 'end\nnext\n']);
  t.equal(first, `${'x'.repeat(LINE_BYTES_MAX)}... [cut]`);
  t.strictSame(rest, ['next']);
});
