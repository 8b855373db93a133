import t from 'tap';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';
import { until } from './until.js';

t.test('handler files of the original library run unchanged', async (t) => {
  const server = await startServer(t, { app: 'original.lua', args: ['--dispatch', 'inline'] });
  const client = await connectRaw(t, server);
  const get = async (path: string) => {
    const { status, body } = await client.request(requestText(path));
    return [status, body.toString()];
  };
  t.strictSame(await get('/?x=1'), [200, 'hello false']);
  t.strictSame(await get('/nothing'), [404, 'Not Found: /nothing']);
  t.strictSame(await get('/compute'), [200, '5000050000 true'], "return 'worker'");
  const headers = { 'Content-Length': '4' };
  const post = `${requestText('/echo', { method: 'POST', headers })}text`;
  t.equal((await client.request(post, 'POST')).body.toString(), 'text');
  t.strictSame(await get('/broken'), [500, 'Internal Server Error\n']);
  await until('its own record', () =>
    /\[lua\] .*broken on purpose/.test(server.stderr() + server.stdout()),
  );
  t.strictSame(await get('/async'), [200, 'scheduled']);
  const steps = await until('every step', async () => {
    const text = String((await get('/steps'))[1]);
    return text.split(', ').length === 4 && text;
  });
  t.equal(steps, 'created 1, wrapped 1, created 2, wrapped 2', 'hs_queue_push');
});
