import t from 'tap';

import { ratios, summarise } from '../../../bench/lib/command.mjs';
import { parseWrk } from '../../../bench/lib/load.mjs';
import { faultOf, WORKS } from '../../../bench/lib/servers.mjs';

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

t.test('a report of wrk without errors has figures', async (t) => {
  const figures = parseWrk(report());
  t.notOk('invalid' in figures);
  t.match(figures, { requests: 1000, requestsPerSecond: 500, p50Ms: 0.455, p99Ms: 30.12 });
  t.match(figures, { maxMs: 47.59, bytesPerRequest: 114.9952 });
});

t.test('socket errors, other statuses and no responses make a report invalid', async (t) => {
  const timeouts = '  Socket errors: connect 0, read 0, write 0, timeout 3';
  t.match(parseWrk(report(timeouts)), { invalid: /timeout 3/ });
  t.match(parseWrk(report('  Non-2xx or 3xx responses: 7')), { invalid: /responses: 7/ });
  t.match(parseWrk('  0 requests in 2.00s, 0.00B read\n'), { invalid: /no response/ });
});

t.test(
  'a server that fails in one round has no figures, and nothing has a ratio to it',
  async (t) => {
    const good = { userMicros: 1, systemMicros: 3, cpuMicros: 4, requestsPerSecond: 9 };
    const rounds = [good, { ...good, invalid: 'wrk: no response at all' }];
    t.same(summarise('peer', rounds, [good]), { name: 'peer', invalid: 'wrk: no response at all' });
    t.notOk('ratio' in summarise('other', [good, good], rounds));
  },
);

t.test('ratios are computed per round, not between medians', async (t) => {
  const rounds = (...all: number[]) => all.map((micros) => ({ micros }));
  const value = ({ micros }: { micros: number }) => micros;
  t.same(ratios(rounds(2, 40, 9), rounds(1, 10, 9), value), { median: 2, lowest: 1, highest: 4 });
});

t.test('a response that does not match the work is a fault', async (t) => {
  const headers = { 'content-type': 'text/plain', date: 'Sun, 06 Nov 1994 08:49:37 GMT' };
  const response = { status: 200, headers, body: 'hello, world\n' };
  const work = WORKS.hello;
  t.equal(faultOf(response, work), undefined);
  t.match(faultOf({ ...response, status: 404 }, work), /404/);
  t.match(faultOf({ ...response, body: 'hello' }, work), /body/);
  t.match(faultOf({ ...response, headers: { date: headers.date } }, work), /type/);
  t.match(faultOf({ ...response, headers: { 'content-type': 'text/plain' } }, work), /Date/);
  t.match(faultOf(response, WORKS['echo-1k']), /body/);
});
