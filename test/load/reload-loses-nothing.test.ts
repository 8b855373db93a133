import t from 'tap';
import { runLoad } from './run-load.js';

t.test('no request is lost while the server is reloaded under load', async (t) => {
  const { code, output, report } = await runLoad(t, ['reload', '--duration', '8', '--rate', '150']);
  t.equal(code, 0, output);
  t.match(report, / 0 failed\.$/m);
  t.match(report, /^[3-9] reloads asked for, [1-9] finished, 0 refused\.$/m);
});
