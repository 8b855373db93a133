import t from 'tap';
import { formatAddress, nodeTarget, parseAddresses } from '../../../src/shared/addresses.js';

t.test('host and port, a path, both, or none', async (t) => {
  const tcp = { type: 'tcp', host: '127.0.0.1', port: 9464 } as const;
  const v6 = { type: 'tcp', host: '::1', port: 0 } as const;
  const unix = { type: 'unix', path: '/run/a.sock' } as const;
  const good: readonly [string, unknown][] = [
    ['off', []],
    ['127.0.0.1:9464', [tcp]],
    ['[::1]:0', [v6]],
    ['/run/a.sock', [unix]],
    ['127.0.0.1:9464,/run/a.sock', [tcp, unix]],
  ];
  for (const [text, value] of good) t.strictSame(parseAddresses(text), { ok: true, value }, text);
  t.equal(formatAddress(v6), '[::1]:0');
  t.equal(formatAddress(tcp), '127.0.0.1:9464');
  t.strictSame(nodeTarget(unix), { path: '/run/a.sock' });
  t.strictSame(nodeTarget(tcp), { host: '127.0.0.1', port: 9464 });
});

t.test('anything else is told apart', async (t) => {
  for (const text of [
    '',
    '9464',
    'host',
    'host:',
    ':80',
    'a:65536',
    '::1:80',
    'a b:1',
    'off,a:1',
  ]) {
    t.match(parseAddresses(text), { ok: false, problem: /is neither host:port/ }, text);
  }
  t.match(parseAddresses('a:1,b:2'), { ok: false, problem: /two addresses of one kind/ });
});
