import { createServer } from 'node:http';
import t, { type Test } from 'tap';
import { askHealth, healthQuestion } from '../../../../src/master/cli/health.js';
import { resolveConfig } from '../../../../src/shared/config.js';
import type { ServerOptions } from '../../../../src/shared/options.js';
import { listenLocally } from '../../../e2e/listening.js';

/** Options as written. */
function question(options: ServerOptions) {
  const file = { path: '/moonring.json', text: JSON.stringify({ admin: 'off', ...options }) };
  const { config } = resolveConfig({ flags: {}, env: {}, file, cwd: '/' });
  return healthQuestion(config);
}

function asked(options: ServerOptions) {
  const made = question(options);
  return made && { ...made.target, path: made.path };
}

t.test('the admin listener is preferred', async (t) => {
  const path = '/readyz';
  t.strictSame(asked({ admin: '127.0.0.1:90' }), { host: '127.0.0.1', port: 90, path });
  t.strictSame(asked({ admin: '0.0.0.0:90' }), { host: '127.0.0.1', port: 90, path });
  t.strictSame(asked({ admin: '[::]:90' }), { host: '::1', port: 90, path });
  t.strictSame(asked({ admin: '/run/admin.sock' }), { socketPath: '/run/admin.sock', path });
  t.strictSame(asked({ admin: '/run/a.sock,127.0.0.1:90' }), { socketPath: '/run/a.sock', path });
});

t.test('without it, the server itself', async (t) => {
  const path = '/';
  t.strictSame(asked({}), { host: '127.0.0.1', port: 8080, path });
  t.strictSame(asked({ host: '0.0.0.0', port: 80 }), { host: '127.0.0.1', port: 80, path });
  t.strictSame(asked({ host: '::', port: 80 }), { host: '::1', port: 80, path });
  t.strictSame(asked({ host: '*', port: 80 }), { host: '127.0.0.1', port: 80, path });
  t.equal(question({ host: '::', port: 80 })?.where, '[::]:80');
  const uds = '/run/app.sock';
  t.strictSame(asked({ port: 'off', uds }), { socketPath: uds, path });
});

t.test('a port chosen by the system is unknown', async (t) => {
  t.equal(asked({ port: 0 }), null);
  t.equal(asked({ admin: '127.0.0.1:0' }), null);
  const { healthy, message } = await askHealth(null);
  t.equal(healthy, false);
  t.match(message, 'no address to check');
});

t.test(
  'only 200 from /readyz is ready; from the application anything but server errors',
  async (t) => {
    for (const [settings, status, healthy] of [
      [{ admin: '127.0.0.1:1' }, 200, true],
      [{ admin: '127.0.0.1:1' }, 404, false],
      [{ admin: '127.0.0.1:1' }, 503, false],
      [{}, 404, true],
      [{}, 503, false],
    ] as const) {
      t.equal(
        question(settings)?.isHealthy(status),
        healthy,
        `${JSON.stringify(settings)} ${status}`,
      );
    }
  },
);

async function listen(t: Test, answer: (path: string) => number | null): Promise<number> {
  const server = createServer((request, response) => {
    const status = answer(request.url ?? '');
    if (status !== null) response.writeHead(status).end('text');
  });
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return listenLocally(server);
}

t.test('the message has the status', async (t) => {
  const port = await listen(t, (path) => (path === '/readyz' ? 503 : 200));
  const admin = await askHealth(question({ admin: `127.0.0.1:${port}` }));
  t.strictSame(admin, { healthy: false, message: `127.0.0.1:${port}/readyz responded with 503` });
  const app = await askHealth(question({ port }));
  t.strictSame(app, { healthy: true, message: `127.0.0.1:${port}/ responded with 200` });
});

t.test('a server that does not respond is unhealthy', async (t) => {
  const port = await listen(t, () => null);
  const silent = await askHealth(question({ port }), 50);
  t.strictSame(silent, {
    healthy: false,
    message: `no response from 127.0.0.1:${port}/: none within 50ms`,
  });
  const uds = `/none/${process.pid}.sock`;
  const absent = await askHealth(question({ port: 'off', uds }));
  t.equal(absent.healthy, false);
  t.match(absent.message, 'no response from');
});
