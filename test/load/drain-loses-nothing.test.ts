import t from 'tap';
import { runLoad } from './run-load.js';

t.test('no request is lost while servers are replaced one after the other', async (t) => {
  const { code, output, report } = await runLoad(t, ['drain', '--duration', '15', '--rate', '150']);
  t.equal(code, 0, output);
  t.match(report, / 0 failed\.$/m);
  t.match(report, /^[1-9] drains, 0 of them without exit code 0\.$/m);
});
