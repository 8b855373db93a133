import t from 'tap';
import {
  formatAddress,
  parseAddresses,
  parseHosts,
  parseNetworks,
  resolveAddress,
} from '../../../src/shared/addresses.js';

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
});

t.test('other lines are not records', async (t) => {
  for (const text of ['', 'host', 'host:', ':80', 'a:65536', '::1:80', 'a b:1', 'off,a:1']) {
    t.match(parseAddresses(text), { ok: false, problem: /is neither host:port/ }, text);
  }
  t.match(parseAddresses('18064'), {
    ok: false,
    problem: '"18064" has no host: write 127.0.0.1:18064',
  });
  t.match(parseAddresses('a:1,b:2'), { ok: false, problem: /two addresses of one kind/ });
});

t.test('networks: addresses, CIDR blocks, names', async (t) => {
  const good = [
    '10.0.0.1',
    '10.0.0.0/8',
    '0.0.0.0/0',
    '1.2.3.4/32',
    '::1',
    '2001:db8::/128',
    '::ffff:10.0.0.0/104',
    'loopback',
    'link-local',
    'private',
    'unix',
  ];
  for (const text of good) t.strictSame(parseNetworks(text), { ok: true, value: [text] }, text);
  t.strictSame(parseNetworks('::1,unix,::1'), { ok: true, value: ['::1', 'unix'] });
  const wrong = ['', 'a', '10.0.0.0/33', '::/129', '10.0.0.0/', '/8', '1.2.3/8', '::1,', '[::1]'];
  for (const text of [...wrong, '10.0.0.1:80', 'fe80::1%eth0', '::ffff:1.2.3.4/95', '*', 'Unix']) {
    t.match(parseNetworks(text), { ok: false, problem: /is not an address, a network/ }, text);
  }
  const many = Array.from({ length: 33 }, (_, i) => `10.0.0.${i}`).join(',');
  t.match(parseNetworks(many), { ok: false, problem: /more than 32 networks/ });
});

t.test('hosts: names, addresses with or without brackets, a list, all addresses', async (t) => {
  const good: readonly [string, readonly string[]][] = [
    ['127.0.0.1', ['127.0.0.1']],
    ['localhost', ['localhost']],
    ['[::1]', ['::1']],
    ['::1,127.0.0.1', ['::1', '127.0.0.1']],
    ['::1,[::1]', ['::1']],
    ['*', ['*']],
    ['127.0.0.1,*', ['*']],
    ['0.0.0.0,::', ['::']],
  ];
  for (const [text, value] of good) t.strictSame(parseHosts(text), { ok: true, value }, text);
  for (const text of ['', 'a b', '[127.0.0.1]', '[::1', 'a,,b', 'http://a']) {
    t.match(parseHosts(text), { ok: false, problem: /is not an address or a host name/ }, text);
  }
  const many = Array.from({ length: 16 }, (_, i) => `127.0.0.${i}`).join(',');
  t.match(parseHosts(many), { ok: false, problem: /more than 15 hosts/ });
});

t.test(
  'a socket path is made absolute, and rejected if it is too long for the system',
  async (t) => {
    const unix = (path: string) => ({ type: 'unix', path }) as const;
    t.strictSame(resolveAddress(unix('./a.sock'), '/etc'), {
      ok: true,
      value: unix('/etc/a.sock'),
    });
    const tooLong = resolveAddress(unix(`/${'x'.repeat(200)}`), '/');
    t.match(tooLong, { ok: false, problem: /has 201 bytes, the system allows/ });
    const longest = `/${'x'.repeat(102)}`;
    t.match(resolveAddress(unix(longest), '/'), { ok: true });
  },
);
