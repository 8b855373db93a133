import t from 'tap';
import { openListeners } from '../../../../src/master/runtime/listeners.js';

const CONFIG = { host: '127.0.0.1', port: 80, uds: null, udsMode: 0o660, backlog: 1 } as const;
const PLAN = { config: CONFIG, tcpCount: 2, inheritedFds: [], origins: [] } as const;
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
  };
}

t.test('TCP, a Unix socket, and both', async (t) => {
  const tcp = { type: 'tcp', host: '127.0.0.1', port: 8080 };
  const unix = { type: 'unix', path: '/run/a.sock' };
  const both = openListeners(sockets(), { ...PLAN, config: { ...CONFIG, uds: '/run/a.sock' } });
  t.strictSame(both, {
    tcpFds: [3, 4],
    sharedFds: [5],
    addresses: [tcp, unix],
    socketPath: '/run/a.sock',
  });
  const config = { ...CONFIG, port: 'off', uds: '/run/a.sock' } as const;
  t.strictSame(openListeners(sockets(), { ...PLAN, config }).addresses, [unix]);
  const nothing = { ...CONFIG, port: 'off' } as const;
  t.throws(() => openListeners(sockets(), { ...PLAN, config: nothing }), {
    code: 'ERR_MOONRING_USAGE',
    message: /nothing to listen on/,
  });
});

t.test('what a service manager opened replaces all others', async (t) => {
  t.strictSame(openListeners(sockets('EADDRINUSE'), { ...PLAN, inheritedFds: [3, 4] }), {
    tcpFds: [],
    sharedFds: [3, 4],
    addresses: [
      { type: 'tcp', host: '127.0.0.1', port: 9 },
      { type: 'unix', path: '/run/a.sock' },
    ],
    socketPath: null,
  });
});

t.test('a failure names the address and what to do', async (t) => {
  const sentences: readonly [string, RegExp][] = [
    ['EADDRINUSE', /^127\.0\.0\.1:80 is in use .* --port/],
    ['EACCES', /^no permission to listen on 127\.0\.0\.1:80: .*1023/],
    ['EADDRNOTAVAIL', /^127\.0\.0\.1 is not an address of this machine: .* --host/],
    ['EIO', /^cannot listen on 127\.0\.0\.1:80: bind: EIO$/],
  ];
  for (const [code, message] of sentences) {
    const open = () => openListeners(sockets(code), PLAN);
    t.throws(open, { code: 'ERR_MOONRING_LISTEN', message, cause: { code } }, code);
  }
  const config = { ...CONFIG, port: 'off', uds: '/run/a.sock' } as const;
  const unix: readonly [string, RegExp][] = [
    ['EADDRINUSE', /^\/run\/a\.sock is served by another program/],
    ['ENOTSOCK', /^\/run\/a\.sock exists and is not a socket/],
  ];
  for (const [code, message] of unix) {
    const open = () => openListeners(sockets(code), { ...PLAN, config });
    t.throws(open, { code: 'ERR_MOONRING_LISTEN', message }, code);
  }
  const origins = ['HOST', 'PORT'];
  const open = () => openListeners(sockets('EADDRINUSE'), { ...PLAN, origins });
  t.throws(open, { message: /\(set by HOST and PORT\)$/ });
});
