import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { openListeners } from '../../../../src/master/runtime/listeners.js';

const CONFIG = { host: ['127.0.0.1'], port: 80, uds: null, udsMode: 0o660, backlog: 1 } as const;
const PLAN = { config: CONFIG, tcpCount: 2, inherited: [], origins: [], tlsPort: null } as const;
const OPENED = { fds: [3, 4], address: '127.0.0.1', port: 8080, family: 4 } as const;

function sockets(failure?: string) {
  const fail = () => {
    throw Object.assign(new Error(`bind: ${failure}`), { code: failure });
  };
  return {
    openTcpListeners: () => (failure === undefined ? OPENED : fail()),
    joinTcpListeners: () => (failure === undefined ? 6 : fail()),
    openUnixListener: () => (failure === undefined ? 5 : fail()),
    adoptListener: (fd: number) =>
      fd === 3
        ? ({ family: 4, address: '127.0.0.1', port: 9 } as const)
        : ({ family: 1, address: '/run/a.sock', port: 0 } as const),
    closeDescriptor: () => {},
  };
}

t.test('several hosts share one port', async (t) => {
  const ports: number[] = [];
  const closed: number[] = [];
  let busy = 2;
  const native = {
    ...sockets(),
    openTcpListeners: ({ host, port }: { host: string; port: number }) => {
      if (host === '::1' && busy-- > 0) {
        throw Object.assign(new Error('bind'), { code: 'EADDRINUSE' });
      }
      ports.push(port);
      return {
        fds: [3 + ports.length],
        address: host,
        port: port || 5000 + ports.length,
        family: 4,
      } as const;
    },
    closeDescriptor: (fd: number) => closed.push(fd),
  };
  const config = { ...CONFIG, host: ['127.0.0.1', '::1'], port: 0 } as const;
  const { tcp, addresses } = openListeners(native, { ...PLAN, config });
  t.strictSame(closed, [4, 5], 'a port that is in use on the second host is given back');
  t.strictSame(
    tcp.map(({ port }) => port),
    [5003, 5003],
  );
  t.match(addresses, [{ host: '127.0.0.1' }, { host: '::1' }]);

  busy = 1;
  const fixed = { ...PLAN, config: { ...config, port: 80 } };
  t.throws(() => openListeners(native, fixed), { message: /^\[::1\]:80 is in use/ });
  t.strictSame(closed.slice(2), [8], 'no socket is left open');
});

t.test('TCP, a Unix socket, and both', async (t) => {
  const tcp = { type: 'tcp', host: '127.0.0.1', port: 8080 };
  const unix = { type: 'unix', path: '/run/a.sock' };
  const both = openListeners(sockets(), { ...PLAN, config: { ...CONFIG, uds: '/run/a.sock' } });
  t.match(both, {
    tcp: [{ fds: [3, 4], host: '127.0.0.1', port: 8080 }],
    sharedFds: [5],
    addresses: [tcp, unix],
  });
  const config = { ...CONFIG, port: 'off', uds: '/run/a.sock' } as const;
  t.strictSame(openListeners(sockets(), { ...PLAN, config }).addresses, [unix]);
  const nothing = { ...CONFIG, port: 'off' } as const;
  t.throws(() => openListeners(sockets(), { ...PLAN, config: nothing }), {
    code: 'ERR_MOONRING_USAGE',
    message: /nothing to listen on/,
  });
});

t.test('listeners from a service manager replace all others', async (t) => {
  t.match(
    openListeners(sockets('EADDRINUSE'), {
      ...PLAN,
      inherited: [
        { fd: 3, name: '' },
        { fd: 4, name: 'moonring.socket' },
      ],
    }),
    {
      tcp: [],
      sharedFds: [3, 4],
      addresses: [
        { type: 'tcp', host: '127.0.0.1', port: 9 },
        { type: 'unix', path: '/run/a.sock' },
      ],
    },
  );
});

t.test('the name of a descriptor determines its use', async (t) => {
  const tcp = (name: string) => [{ fd: 3, name }];
  const open = (
    inherited: readonly { fd: number; name: string }[],
    tlsPort: number | null = null,
  ) => openListeners(sockets(), { ...PLAN, inherited, tlsPort });
  const both = open([...tcp('admin'), { fd: 4, name: 'http' }]);
  t.match(both.admin, [{ fd: 3, address: { type: 'tcp', port: 9 } }]);
  t.strictSame(both.sharedFds, [4]);
  t.match(open(tcp('admin')).tcp, [{ port: 8080 }], 'one for admin alone replaces no others');
  t.match(open(tcp('https'), 8443), { tlsPort: 9, sharedFds: [3] });
  t.match(open(tcp('http'), 8443), { tlsPort: 8443 });
  t.throws(() => open(tcp('https')), { code: 'ERR_MOONRING_USAGE', message: /needs --tls-cert/ });
  t.throws(() => open([{ fd: 4, name: 'https' }], 8443), { message: /on TCP only/ });
});

t.test('a control socket that every user may write to is rejected', async (t) => {
  const path = join(t.testdir(), 'a.sock');
  writeFileSync(path, '');
  const native = {
    ...sockets(),
    adoptListener: () => ({ family: 1, address: path, port: 0 }) as const,
  };
  const open = () => openListeners(native, { ...PLAN, inherited: [{ fd: 4, name: 'admin' }] });
  chmodSync(path, 0o660);
  t.match(open().admin, [{ fd: 4 }]);
  chmodSync(path, 0o666);
  t.throws(open, { message: /every user can control the server .* SocketMode=0600/ });
});

t.test('an error names the address and what to do', async (t) => {
  const messages: readonly [string, RegExp][] = [
    ['EADDRINUSE', /^127\.0\.0\.1:80 is in use .* --port/],
    ['EACCES', /^no permission to listen on 127\.0\.0\.1:80: .*1023/],
    ['EADDRNOTAVAIL', /^127\.0\.0\.1 is not an address of this machine: .* --host/],
    ['EIO', /^cannot listen on 127\.0\.0\.1:80: bind: EIO$/],
  ];
  for (const [code, message] of messages) {
    const open = () => openListeners(sockets(code), PLAN);
    t.throws(open, { code: 'ERR_MOONRING_LISTEN', message, cause: { code } }, code);
  }
  const config = { ...CONFIG, port: 'off', uds: '/run/a.sock' } as const;
  const unix: readonly [string, RegExp][] = [
    ['EADDRINUSE', /^\/run\/a\.sock is in use by another program/],
    ['ENOTSOCK', /^\/run\/a\.sock exists and is not a socket/],
  ];
  for (const [code, message] of unix) {
    const open = () => openListeners(sockets(code), { ...PLAN, config });
    t.throws(open, { code: 'ERR_MOONRING_LISTEN', message }, code);
  }
  const origins = ['MOONRING_HOST', 'PORT'];
  const open = () => openListeners(sockets('EADDRINUSE'), { ...PLAN, origins });
  t.throws(open, { message: /\(set by MOONRING_HOST and PORT\)$/ });
});
