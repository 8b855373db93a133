import t from 'tap';
import { terminalOutput } from '../../../../src/master/log/log.js';

const RECORD = '{"level":40,"time":0,"pid":7,"reactor":2,"msg":"slow"}\n';

function written(colour: boolean, line: string): string {
  const parts: string[] = [];
  terminalOutput({ write: (text) => parts.push(text) }, colour).write(line);
  return parts.join('');
}

t.test('a record becomes one readable line', async (t) => {
  const line = written(false, RECORD);
  t.match(line, /WARN.*slow.*"reactor":2/);
  t.equal(line.indexOf('\n'), line.length - 1);
  t.notMatch(line, '\u001B', 'without colours');
});

t.test('in colours on request', async (t) => {
  t.match(written(true, RECORD), '\u001B[');
});

t.test('a line that is not a record is left unchanged', async (t) => {
  t.match(written(false, 'plain words\n'), 'plain words');
});
