import t from 'tap';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';
import { until } from './until.js';

for (const mode of ['inline', 'worker']) {
  t.test(`tasks are resumed and errors logged, ${mode}`, async (t) => {
    const server = await startServer(t, {
      app: 'dispatch.lua',
      args: ['--dispatch', mode, '--threads', '1'],
    });
    const client = await connectRaw(t, server);
    t.equal((await client.request(requestText('/tasks'))).body.toString(), 'pushed');
    // No request arrives in between: a timer resumes them.
    const line = await server.logLine('the failure of a task', (line) =>
      /a task failed on purpose/.test(line.msg ?? ''),
    );
    t.match(line.msg, /background task.*dispatch\.lua:\d+/s);
    const seen = await until('all tasks have run', async () => {
      const text = (await client.request(requestText('/tasks-seen'))).body.toString();
      return text.split(' ').length === 4 && text;
    });
    t.equal(seen, 'first coroutine second wrapped');
  });
}
