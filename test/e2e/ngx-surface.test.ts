import { request } from 'node:https';
import t, { type Test } from 'tap';
import { makeCertificate } from './certificate.js';
import { connectRaw, requestText } from './raw-client.js';
import { type Server, startServer, tlsPortOf } from './server.js';

const start = (test: Test, args: readonly string[] = []) =>
  startServer(test, { app: 'ngx-surface.lua', args: ['--compat', 'ngx', ...args] });

async function get(server: Server, target: string, init?: RequestInit) {
  const response = await fetch(`${server.url}${target}`, { redirect: 'manual', ...init });
  return { response, status: response.status, body: await response.text() };
}

t.test('a file without handle runs for each request', async (t) => {
  const { cert, key } = makeCertificate(t);
  const tls = ['--tls-cert', cert, '--tls-key', key, '--tls-port', '0'];
  const server = await start(t, [...tls, '--dispatch', 'inline']);
  const body = async (target: string, init?: RequestInit) => (await get(server, target, init)).body;

  t.test('content, status and fields', async (t) => {
    t.equal(await body('/say'), 'a1niltrueb2 null\nend\n');
    const { response, status, body: content } = await get(server, '/head');
    t.equal(status, 201);
    t.equal(content, 'two false true');
    t.equal(response.headers.get('content-type'), 'text/x-test');
    t.equal(response.headers.get('x-list'), 'one, two');
    t.equal(response.headers.get('x-gone'), null);
    t.equal(response.headers.get('x-split'), 'a%0D%0AInjected: yes');
    t.equal(response.headers.get('injected'), null);
    await server.logLine('the late status', (line) =>
      String(line.msg).startsWith('attempt to set ngx.status after sending out'),
    );
    const empty = await get(server, '/empty');
    t.equal(empty.status, 200);
    t.equal(empty.response.headers.get('content-type'), 'text/plain');
    t.equal(empty.response.headers.get('content-length'), '0');
  });

  t.test('the number of the reactor and of all reactors', async (t) => {
    t.equal(await body('/worker'), '0 of 1\n');
  });

  t.test('over TLS the port is the TLS port', async (t) => {
    const port = await tlsPortOf(server);
    const options = { port, path: `/variables?port=${port}`, rejectUnauthorized: false };
    const text = await new Promise<string>((resolve, reject) => {
      const asked = request(options, (response) => {
        let all = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          all += chunk;
        });
        response.on('end', () => resolve(all));
      });
      asked.on('error', reject).end();
    });
    t.match(text, /https .*\ntrue true\n/);
  });

  t.test('properties of the request', async (t) => {
    const client = await connectRaw(t, server);
    const target = `/variables/%61/../b//c?a=x%20y&port=${server.port}`;
    const headers = { Host: 'LocalHost:1', 'X-Test': 'value', Cookie: 'b=1; c=2' };
    const asked = await client.request(requestText(target, { headers }));
    const lines = asked.body.toString().split('\n');
    t.equal(
      lines[0],
      `/variables/b/c ${target} a=x%20y&port=${server.port} ? x%20y value localhost http 127.0.0.1 ` +
        'GET HTTP/1.1 4 2 nil',
    );
    t.equal(lines[1], 'true true');
    t.equal(lines[2], 'false variable "unheard" not found for writing');
    t.equal(lines[3], 'false not changeable');

    const fields = 'X-Test: value\r\nX-Twice: 1\r\nX-Twice: 2\r\nContent-Length: 6\r\n';
    const answer = await client.request(
      `POST /request?a=1&flag&b=2&b=3 HTTP/1.1\r\nHost: x\r\n${fields}\r\nx=%41+`,
    );
    t.equal(
      answer.body.toString(),
      'value value 1+2\nchanged nil changed\n1 true 2+3\n' +
        'POST 1.1 POST /request?a=1&flag&b=2&b=3 HTTP/1.1\nx=%41+ A  nil\nz=new%20value new value\n',
    );
    t.equal(
      await body('/body_socket', { method: 'POST', body: 'head--abcde--line\r\nxyrest' }),
      'head|abc|de|nil|line|xy|rest\n',
    );
  });

  t.test('exits end the request wherever they are called', async (t) => {
    const { response, status, body: page } = await get(server, '/exit');
    t.equal(status, 403);
    t.equal(page, '403 Forbidden\n');
    t.equal(response.headers.get('x-kept'), 'yes');
    const after = await get(server, '/exit_after');
    t.same([after.status, after.body], [202, 'said\n']);
    t.equal((await get(server, '/exit_in_coroutine')).status, 404);
    t.equal((await get(server, '/exit_in_thread')).status, 409);
    t.equal((await get(server, '/unknown')).status, 404);
    const moved = await get(server, '/redirect');
    t.same([moved.status, moved.response.headers.get('location')], [301, '/elsewhere?x=1']);
    t.equal((await get(server, '/broken')).status, 500);
    t.equal((await get(server, '/say')).status, 200, 'coroutines that were given up leave nothing');
  });

  t.test('streams', async (t) => {
    const { response, body: content } = await get(server, '/stream');
    t.equal(content, 'line 1\nline 2\nline 3\n');
    t.equal(response.headers.get('transfer-encoding'), 'chunked');
    t.equal((await body('/large')).length, 1024 * 1024);
  });

  t.test('threads, semaphores, timers', async (t) => {
    t.equal(
      await body('/threads'),
      'true fast thread,parent dead\ntrue slow\nfalse broken on purpose\n' +
        '1 already waited or killed\nthe response waits for threads\n',
    );
    t.equal(await body('/semaphore'), 'true true nil 0\n');
    t.equal(
      await body('/timer'),
      '1 false one two timer API disabled in the context of ngx.timer 0 nil\n',
    );
    t.equal(await body('/ctx'), 'nil\nmine\n');
    t.equal(await body('/ctx'), 'nil\nmine\n');
  });

  t.test('the log, and unsupported functions', async (t) => {
    t.equal(await body('/log'), 'logged\n');
    const line = await server.logLine('the record', (each) =>
      String(each.msg).includes('an error'),
    );
    t.match(line.msg, /ngx-surface\.lua:\d+: an error nil 5$/);
    t.equal(line.level, 50);
    t.equal(
      await body('/refused'),
      'false not supported\nfalse not supported\nfalse no locations\n',
    );
  });
});

t.test('pending timers run early when the server drains', async (t) => {
  const server = await start(t);
  t.equal((await get(server, '/premature')).body, 'content\n');
  const record = server.logLine('the timer', (line) =>
    String(line.msg).includes('premature: true'),
  );
  t.same(await server.stop(), { code: 0, signal: null });
  t.match((await record).msg, /premature: true, exiting: true, again: process exiting$/);
});

t.test('the same on worker threads', async (t) => {
  const server = await start(t, ['--dispatch', 'worker', '--threads', '1']);
  t.equal((await get(server, '/say')).body, 'a1niltrueb2 null\nend\n');
  t.equal((await get(server, '/exit')).status, 403);
  t.equal((await get(server, '/exit_in_coroutine')).status, 404);
  t.equal((await get(server, '/exit_in_thread')).status, 409);
  t.equal((await get(server, '/stream')).body, 'line 1\nline 2\nline 3\n');
  t.equal((await get(server, '/say')).status, 200);
});

t.test('a pipeline keeps its order after exits', async (t) => {
  const server = await start(t);
  const client = await connectRaw(t, server);
  const targets = ['/exit', '/say', '/exit_in_thread', '/ctx', '/exit_after'];
  await client.send(targets.map((target) => requestText(target)).join(''));
  const statuses: number[] = [];
  for (const _ of targets) statuses.push((await client.next()).status);
  t.same(statuses, [403, 200, 409, 200, 202]);
});

for (const dispatch of ['inline', 'worker']) {
  t.test(`some exits close the connection without a response: ${dispatch}`, async (t) => {
    const log = ['--access-log', 'json'];
    const server = await start(t, ['--dispatch', dispatch, '--threads', '1', ...log]);
    const target = (query: string) => `/exit_silently?code=${query}`;
    const closed: [query: string, status: number][] = [
      ['444', 444],
      ['444&waits=1', 444],
      ['444&said=1', 444],
      ['408', 408],
      ['499', 499],
      ['-1', 500],
    ];
    for (const [query, status] of closed) {
      const client = await connectRaw(t, server);
      await client.send(requestText('/say') + requestText(target(query)) + requestText('/say'));
      t.equal((await client.next()).status, 200, 'the response before is complete');
      await client.ended();
      const line = await server.logLine(`the line of ${query}`, ({ req }) => {
        return (req as { url?: string } | undefined)?.url === target(query);
      });
      t.match(line, { res: { statusCode: status }, bytesOut: 0 }, query);
    }
    const streamed = await fetch(server.url + target('444&flushed=1'));
    await t.rejects(streamed.text(), 'a response that has begun has no end');
    const uploading = await connectRaw(t, server);
    const head = `POST ${target('444')} HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n`;
    await uploading.send(`${head}hello`);
    await uploading.ended();
    t.equal((await get(server, '/say')).status, 200);
  });
}
