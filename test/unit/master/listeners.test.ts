import t from 'tap';
import { formatAddress, openListeners } from '../../../src/master/listeners.js';

const OPTIONS = { host: '127.0.0.1', port: 80, backlog: 1, count: 2 };

function failingWith(code: string) {
  return {
    openTcpListeners() {
      throw Object.assign(new Error(`bind: ${code}`), { code });
    },
  };
}

t.test('what is opened is handed on', async (t) => {
  const opened = { fds: [3, 4], address: '127.0.0.1', port: 8080, family: 4 } as const;
  t.equal(openListeners({ openTcpListeners: () => opened }, OPTIONS, []), opened);
});

t.test('a failure names the address and what to do', async (t) => {
  const sentences: readonly [string, RegExp][] = [
    ['EADDRINUSE', /^127\.0\.0\.1:80 is in use .* --port/],
    ['EACCES', /^no permission to listen on 127\.0\.0\.1:80: .*1023/],
    ['EADDRNOTAVAIL', /^127\.0\.0\.1 is not an address of this machine: .* --host/],
    ['EIO', /^cannot listen on 127\.0\.0\.1:80: bind: EIO$/],
  ];
  for (const [code, message] of sentences) {
    const open = () => openListeners(failingWith(code), OPTIONS, []);
    t.throws(open, { code: 'ERR_MOONRING_LISTEN', message, cause: { code } }, code);
  }
  const open = () => openListeners(failingWith('EADDRINUSE'), OPTIONS, ['HOST', 'PORT']);
  t.throws(open, { message: /\(set by HOST and PORT\)$/ });
});

t.test('addresses', async (t) => {
  t.equal(formatAddress('127.0.0.1', 80), '127.0.0.1:80');
  t.equal(formatAddress('::1', 80), '[::1]:80');
  t.equal(formatAddress('localhost', 80), 'localhost:80');
});
