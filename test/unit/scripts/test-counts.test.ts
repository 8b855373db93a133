import t from 'tap';

import { countCtest } from '../../../scripts/lib/run-ctest.mjs';
import { countTap } from '../../../scripts/lib/run-tap.mjs';

t.test('the cases of every cmocka program are added up', async (t) => {
  const text = [
    'test 1',
    '1: [==========] Running 2 test(s).',
    '1: [  PASSED  ] 2 test(s).',
    '1/3 Test #1: ring .............................   Passed    0.00 sec',
    '2: [  PASSED  ] 3 test(s).',
    '2: [  FAILED  ] tests: 1 test(s), listed below:',
    '2: [  FAILED  ] wraps_at_the_end',
    '2/3 Test #2: parser ...........................***Failed    0.01 sec',
    '3: plain words',
    ' 3/3 Test #3: plain ............................   Passed    0.01 sec',
  ].join('\n');
  const { passed, failed, output } = countCtest(text);
  t.same({ passed, failed }, { passed: 6, failed: 1 });
  t.match(output, /wraps_at_the_end/);
  t.notMatch(output, /plain words/);
});

t.test('a program that ends badly is a failure even if its cases passed', async (t) => {
  const text = [
    '1: [  PASSED  ] 2 test(s).',
    '1: ERROR: LeakSanitizer: detected memory leaks',
    '1/2 Test #1: conn .............................***Failed    0.10 sec',
    '2/2 Test #2: lua ..............................***Exception: SegFault  0.05 sec',
  ].join('\n');
  const { passed, failed, output } = countCtest(text);
  t.same({ passed, failed }, { passed: 2, failed: 2 });
  t.match(output, /LeakSanitizer/);
});

t.test('tap counts what it says in its closing line', async (t) => {
  const { passed, failed } = countTap('# { total: 6, pass: 4, fail: 1, skip: 1 }\n# time=1ms\n', 1);
  t.same({ passed, failed }, { passed: 4, failed: 1 });
});

t.test('a tap that fails without a failed test is a failure', async (t) => {
  t.match(countTap('# { total: 4, pass: 4 }\n', 1), { passed: 4, failed: 1 });
  t.match(countTap('no closing line', 1), { passed: 0, failed: 1 });
});
