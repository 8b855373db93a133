import t from 'tap';
import { runLoad } from './run-load.js';

t.test('smoke passes and reports the connections of each reactor', async (t) => {
  const { code, output, report } = await runLoad(t, ['smoke', '--duration', '3']);
  t.equal(code, 0, output);
  t.match(report, /^# smoke: passed$/m);
  t.match(report, /^\d+ requests in \d+ s, \d+ per second, 0 failed\.$/m);
  if (process.platform === 'linux') {
    const reactors = report.match(/^\| \d+ \| \d+ \| \d+ \| [\d.]+ \|$/gm);
    t.equal(reactors?.length, 2, 'a row for each reactor');
  }
});
