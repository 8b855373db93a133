import t from 'tap';

import { countCtest, countTap } from '../../../scripts/lib/run-tests.mjs';

t.test('the cases of all cmocka programs are added up', async (t) => {
  const text = [
    '1: 1..2',
    '1: ok 1 - wraps',
    '1: ok 2 - grows',
    '1/3 Test #1: ring .............................   Passed    0.00 sec',
    '2: ok 1 - parses',
    '2: not ok 2 - refuses',
    '2: # refuses_a_name',
    '2/3 Test #2: parser ...........................***Failed    0.01 sec',
    '3: plain text',
    ' 3/3 Test #3: plain ............................   Passed    0.01 sec',
  ].join('\n');
  const { passed, failed, output } = countCtest(text, 8);
  t.same({ passed, failed }, { passed: 4, failed: 1 });
  t.match(output, /refuses_a_name/);
  t.notMatch(output, /plain text/);
});

t.test('a program that crashes is a failure even if its cases passed', async (t) => {
  const text = [
    '1: ok 1 - first',
    '1: ERROR: LeakSanitizer: detected memory leaks',
    '1/2 Test #1: conn .............................***Failed    0.10 sec',
    '2/2 Test #2: lua ..............................***Exception: SegFault  0.05 sec',
  ].join('\n');
  const { passed, failed, output } = countCtest(text, 8);
  t.same({ passed, failed }, { passed: 1, failed: 2 });
  t.match(output, /LeakSanitizer/);
});

t.test('a ctest that fails without running a test is a failure', async (t) => {
  t.match(countCtest('No such directory', 1), { passed: 0, failed: 1 });
});

t.test('the last line of tap is counted', async (t) => {
  const { passed, failed } = countTap('# { total: 6, pass: 4, fail: 1, skip: 1 }\n# time=1ms\n', 1);
  t.same({ passed, failed }, { passed: 4, failed: 1 });
});

t.test('a tap that fails without a failed test is a failure', async (t) => {
  t.match(countTap('# { total: 4, pass: 4 }\n', 1), { passed: 4, failed: 1 });
  t.match(countTap('no closing line', 1), { passed: 0, failed: 1 });
});
