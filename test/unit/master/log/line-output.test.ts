import t from 'tap';
import { lineOutput } from '../../../../src/master/log/line-output.js';
import { until } from '../../../e2e/until.js';

/** Accepts `room` bytes, then none until there is room again. */
function reader(room: number) {
  const self = {
    room,
    text: '',
    problem: '',
    take(lines: Buffer): number {
      if (self.problem !== '') throw new Error(self.problem);
      const taken = lines.subarray(0, self.room);
      self.room -= taken.length;
      self.text += taken.toString();
      return taken.length;
    },
  };
  return self;
}

t.test('a line is written before the call returns', async (t) => {
  const to = reader(100);
  lineOutput(to.take).write('one\n');
  t.equal(to.text, 'one\n');
});

t.test('unwritten lines wait, complete and in order', async (t) => {
  const to = reader(5);
  const output = lineOutput(to.take);
  output.write('first\n');
  output.write('second\n');
  t.equal(to.text, 'first');
  to.room = 100;
  output.flush(0);
  t.equal(to.text, 'first\nsecond\n');
});

t.test('waiting lines are written later without another line', async (t) => {
  const to = reader(0);
  lineOutput(to.take).write('first\n');
  to.room = 100;
  await until('it is taken', () => to.text !== '');
  t.equal(to.text, 'first\n');
});

t.test(
  'lines over the limit are lost, and their number is logged when there is room',
  async (t) => {
    const to = reader(0);
    const output = lineOutput(to.take);
    const line = `${'x'.repeat(1023)}\n`;
    for (let i = 0; i < 300; i++) output.write(line);
    to.room = 1_000_000;
    output.write('last\n');
    const [record = '', ...rest] = to.text.split('\n').filter((each) => !each.startsWith('x'));
    t.match(JSON.parse(record), { level: 40, msg: 'log lines were lost', lost: 45 });
    t.strictSame(rest, ['']);
    output.write('next\n');
    t.match(to.text, /next\n$/);
  },
);

t.test('a full disk is not an error; the loss is logged when there is room again', async (t) => {
  const to = reader(1000);
  const output = lineOutput(to.take);
  to.problem = 'No space left on device';
  output.write('one\n');
  output.write('two\n');
  t.equal(to.text, '');
  to.problem = '';
  output.write('three\n');
  t.match(to.text, /^three\n.*"lost":2,"reason":"No space left on device"/);
});

t.test('a line truncated by a full disk is lost too', async (t) => {
  const to = reader(3);
  const output = lineOutput(to.take);
  output.write('first\n');
  to.problem = 'No space left on device';
  output.write('second\n');
  to.problem = '';
  to.room = 1000;
  output.write('third\n');
  t.match(to.text, /^firthird\n\{.*"lost":2,/, 'ending it is left to who takes the bytes');
});
