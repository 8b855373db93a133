import t from 'tap';

import { faultOfAnswer } from '../../../bench/lib/answer.mjs';
import { summarise } from '../../../bench/lib/comparison.mjs';
import { faultOfPaced } from '../../../bench/lib/paced.mjs';
import { parseWrk } from '../../../bench/lib/wrk.mjs';

const report = (...faults: string[]): string =>
  [
    'Running 2s test @ http://127.0.0.1:40000/',
    '  1 threads and 64 connections',
    '  Thread Stats   Avg      Stdev     Max   +/- Stdev',
    '    Latency     1.86ms    5.63ms  47.59ms   92.79%',
    '    Req/Sec    35.58k     8.22k   54.09k    70.00%',
    '  Latency Distribution',
    '     50%  455.00us',
    '     99%   30.12ms',
    '  1000 requests in 2.00s, 112.30KB read',
    ...faults,
    'Requests/sec:  500.00',
    'Transfer/sec:     56.15KB',
    '',
  ].join('\n');

t.test('a clean report of wrk has figures', async (t) => {
  const { invalid, ...figures } = parseWrk(report());
  t.equal(invalid, undefined);
  t.match(figures, { requests: 1000, requestsPerSecond: 500, p50Ms: 0.455, p99Ms: 30.12 });
  t.match(figures, { maxMs: 47.59, bytesPerRequest: 114.9952 });
});

t.test('socket errors, other statuses and silence are faults of a report', async (t) => {
  const timeouts = '  Socket errors: connect 0, read 0, write 0, timeout 3';
  t.match(parseWrk(report(timeouts)).invalid, /timeout 3/);
  t.match(parseWrk(report('  Non-2xx or 3xx responses: 7')).invalid, /responses: 7/);
  t.match(parseWrk('  0 requests in 2.00s, 0.00B read\n').invalid, /no answer/);
});

t.test('failed and unanswered requests are faults of a paced run', async (t) => {
  t.equal(faultOfPaced({ due: 100, answered: 100, failed: 0 }), undefined);
  t.match(faultOfPaced({ due: 100, answered: 99, failed: 1 }), /1 requests failed/);
  t.match(faultOfPaced({ due: 100, answered: 90, failed: 0 }), /90 of 100/);
});

t.test('a contender that fails in one round has no figures, nor has a ratio to it', async (t) => {
  const good = { userMicros: 1, systemMicros: 3, cpuMicros: 4, requestsPerSecond: 9 };
  const rounds = [good, { ...good, invalid: 'wrk: no answer at all' }];
  const failed = summarise({ name: 'peer', answerBytes: 115 }, rounds, [good, good]);
  t.same(failed, { name: 'peer', answerBytes: 115, invalid: 'wrk: no answer at all' });

  const beside = summarise({ name: 'other', answerBytes: 115 }, [good, good], rounds);
  t.equal('ratio' in beside, false);
  t.match(summarise({ name: 'other', answerBytes: 115 }, [good, good], [good, good]), {
    ratio: { median: 1, lowest: 1, highest: 1 },
  });
});

t.test('an answer that is not the one asked for is a fault', async (t) => {
  const fields = new Map([
    ['content-type', 'text/plain'],
    ['date', 'Sun, 06 Nov 1994 08:49:37 GMT'],
  ]);
  const answer = { statusLine: 'HTTP/1.1 200 OK', fields, bytes: 115, body: 'hello, world\n' };
  const work = { body: 'hello, world\n', type: 'text/plain' };
  t.equal(faultOfAnswer(answer, work), undefined);
  t.match(faultOfAnswer({ ...answer, statusLine: 'HTTP/1.1 404 Not Found' }, work), /404/);
  t.match(faultOfAnswer({ ...answer, body: 'hello' }, work), /body/);
  t.match(faultOfAnswer(answer, { ...work, type: 'application/json' }), /text\/plain/);
  t.match(faultOfAnswer({ ...answer, fields: new Map([...fields].slice(0, 1)) }, work), /Date/);
});
