import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import {
  askHealth,
  type HealthSettings,
  healthQuestion,
} from '../../../../src/master/cli/health.js';

const PLAIN: HealthSettings = { admin: 'off', host: '127.0.0.1', port: 80, uds: null };

function asked(settings: Partial<HealthSettings>) {
  const question = healthQuestion({ ...PLAIN, ...settings });
  return question && { ...question.target, path: question.path };
}

t.test('the admin listener is asked first', async (t) => {
  const path = '/readyz';
  t.strictSame(asked({ admin: '127.0.0.1:90' }), { host: '127.0.0.1', port: 90, path });
  t.strictSame(asked({ admin: '0.0.0.0:90' }), { host: '127.0.0.1', port: 90, path });
  t.strictSame(asked({ admin: '[::]:90' }), { host: '::1', port: 90, path });
  t.strictSame(asked({ admin: '/run/admin.sock' }), { socketPath: '/run/admin.sock', path });
  t.strictSame(asked({ admin: '/run/a.sock,127.0.0.1:90' }), { socketPath: '/run/a.sock', path });
});

t.test('without it, the server itself', async (t) => {
  const path = '/';
  t.strictSame(asked({}), { host: '127.0.0.1', port: 80, path });
  t.strictSame(asked({ host: '0.0.0.0' }), { host: '127.0.0.1', port: 80, path });
  t.strictSame(asked({ host: '::' }), { host: '::1', port: 80, path });
  const uds = '/run/app.sock';
  t.strictSame(asked({ port: 'off', uds }), { socketPath: uds, path });
});

t.test('a port that the system chose cannot be known', async (t) => {
  t.equal(asked({ port: 0 }), null);
  t.equal(asked({ admin: '127.0.0.1:0' }), null);
  const { healthy, sentence } = await askHealth(null);
  t.equal(healthy, false);
  t.match(sentence, 'nothing to ask');
});

t.test('only 200 of /readyz is ready; of the application all but server errors', async (t) => {
  for (const [settings, status, healthy] of [
    [{ admin: '127.0.0.1:1' }, 200, true],
    [{ admin: '127.0.0.1:1' }, 404, false],
    [{ admin: '127.0.0.1:1' }, 503, false],
    [{}, 404, true],
    [{}, 503, false],
  ] as const) {
    const question = healthQuestion({ ...PLAIN, ...settings });
    t.equal(question?.isHealthy(status), healthy, `${JSON.stringify(settings)} ${status}`);
  }
});

async function listen(t: Test, answer: (path: string) => number | null): Promise<number> {
  const server = createServer((request, response) => {
    const status = answer(request.url ?? '');
    if (status !== null) response.writeHead(status).end('text');
  });
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return (server.address() as AddressInfo).port;
}

t.test('the sentence says what was answered', async (t) => {
  const port = await listen(t, (path) => (path === '/readyz' ? 503 : 200));
  const admin = await askHealth(healthQuestion({ ...PLAIN, admin: `127.0.0.1:${port}` }));
  t.strictSame(admin, { healthy: false, sentence: `127.0.0.1:${port}/readyz answered 503` });
  const app = await askHealth(healthQuestion({ ...PLAIN, port }));
  t.strictSame(app, { healthy: true, sentence: `127.0.0.1:${port}/ answered 200` });
});

t.test('a server that is silent or not there is not healthy', async (t) => {
  const port = await listen(t, () => null);
  const silent = await askHealth(healthQuestion({ ...PLAIN, port }), 50);
  t.strictSame(silent, {
    healthy: false,
    sentence: `127.0.0.1:${port}/ did not answer: silent for 50 ms`,
  });
  const uds = `${t.testdirName}/none.sock`;
  const absent = await askHealth(healthQuestion({ ...PLAIN, port: 'off', uds }));
  t.equal(absent.healthy, false);
  t.match(absent.sentence, 'did not answer');
});
