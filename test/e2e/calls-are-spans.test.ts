import { createServer, type IncomingMessage } from 'node:http';
import t, { type Test } from 'tap';
import { attributesOf, openCollector, type Span } from './collector.js';
import { listenLocally } from './listening.js';
import { postgresPrograms, startPostgres } from './postgres-server.js';
import { startRedis } from './redis-server.js';
import { type Server, startServer } from './server.js';
import { until } from './until.js';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const PARENT = 'b7ad6b7169203331';
const [SERVER, CLIENT] = [2, 3];
const [UNSET, ERROR] = [0, 2];

interface Upstream {
  readonly url: string;
  readonly port: number;
  /** What was requested: the path, and the span in the traceparent field. */
  readonly asked: [string, string | undefined][];
}

async function openUpstream(t: Test): Promise<Upstream> {
  const asked: Upstream['asked'] = [];
  const server = createServer((request: IncomingMessage, response) => {
    const [path = ''] = (request.url ?? '').split('?');
    const known = asked.some(([each]) => each === path);
    asked.push([path, String(request.headers['traceparent']).split('-')[2]]);
    if (path === '/dies' && !known) request.socket.destroy();
    else if (path === '/moved') response.writeHead(302, { Location: '/found' }).end();
    else response.writeHead(path === '/missing' ? 404 : 200).end();
  });
  t.teardown(() => server.close().closeAllConnections());
  const port = await listenLocally(server);
  return { url: `http://127.0.0.1:${port}`, port, asked };
}

async function ask(server: Server, path: string, flags = '01') {
  const headers = { traceparent: `00-${TRACE}-${PARENT}-${flags}` };
  return (await fetch(`${server.url}/${path}`, { headers })).status;
}

interface Traced {
  readonly request: Span;
  /** Ordered by end time. */
  readonly calls: readonly Span[];
}

/**
 * In milliseconds. The end of the server waits only a second for a collector, which on a busy machine
 * may take longer.
 */
const SOON = { OTEL_BSP_SCHEDULE_DELAY: '50' };

/** The span of the request, which comes after those of its calls. */
function requestSpan({ spans }: { readonly spans: readonly Span[] }): Promise<Span> {
  return until('the span of the request', () => spans.find(({ kind }) => kind === SERVER));
}

/** Sends one request, and stops: the spans of that request. */
async function trace(t: Test, path: string, dispatch: string, env: Record<string, string>) {
  const collector = await openCollector(t);
  const args = ['--otlp', collector.url, '--trace-sample', '1000000', '--dispatch', dispatch];
  const server = await startServer(t, {
    app: 'calls.lua',
    args: [...args, '--threads', '1'],
    env: { ...SOON, ...env },
  });
  t.equal(await ask(server, path), 200);
  const request = await requestSpan(collector);
  await server.stop();
  t.notMatch(JSON.stringify(collector.spans), /secret/);
  const calls = collector.spans.filter(({ kind }) => kind === CLIENT);
  t.match(request, { traceId: TRACE, parentSpanId: PARENT });
  for (const call of calls) {
    t.match(call, { traceId: TRACE, parentSpanId: request.spanId });
    const [begun, ended] = [call.startTimeUnixNano, call.endTimeUnixNano].map(BigInt);
    t.ok(BigInt(request.startTimeUnixNano) <= (begun ?? 0n), 'it begins within the request');
    t.ok((ended ?? 0n) <= BigInt(request.endTimeUnixNano), 'it ends within the request');
  }
  return { request, calls } satisfies Traced;
}

function brief(calls: readonly Span[]) {
  return calls.map((call) => [call.name, call.status.code, attributesOf(call)]);
}

for (const dispatch of ['inline', 'worker']) {
  t.test(
    `requests to other servers are spans, and parents of spans there: ${dispatch}`,
    async (t) => {
      const upstream = await openUpstream(t);
      const env = { MOONRING_TEST_UPSTREAM: upstream.url };
      const { calls } = await trace(t, 'http', dispatch, env);
      const own = { 'server.address': '127.0.0.1', 'server.port': upstream.port };
      const get = { ...own, 'http.request.method': 'GET' };
      t.strictSame(brief(calls), [
        [
          'GET',
          UNSET,
          { ...get, 'http.response.status_code': 200, 'url.full': `${upstream.url}/found` },
        ],
        [
          'PUT',
          ERROR,
          {
            ...own,
            'http.request.method': 'PUT',
            'http.response.status_code': 404,
            'error.type': '404',
            'url.full': `${upstream.url}/missing`,
          },
        ],
        [
          'GET',
          UNSET,
          { ...get, 'http.response.status_code': 302, 'url.full': `${upstream.url}/moved` },
        ],
        [
          'GET',
          UNSET,
          {
            ...get,
            'http.response.status_code': 200,
            'http.request.resend_count': 1,
            'url.full': `${upstream.url}/found`,
          },
        ],
        [
          'HTTP',
          ERROR,
          {
            'http.request.method': '_OTHER',
            'http.request.method_original': 'BREW',
            'server.address': '127.0.0.1',
            'server.port': 1,
            'error.type': 'refused',
            'url.full': 'http://127.0.0.1:1/refused',
          },
        ],
      ]);
      t.strictSame(upstream.asked, [
        ['/found', calls[0]?.spanId],
        ['/missing', undefined],
        ['/moved', calls[2]?.spanId],
        ['/found', calls[3]?.spanId],
      ]);
    },
  );
}

t.test('a request that is retried is a separate span', async (t) => {
  const upstream = await openUpstream(t);
  const { calls } = await trace(t, 'twice', 'inline', { MOONRING_TEST_UPSTREAM: upstream.url });
  t.match(brief(calls), [
    ['GET', UNSET, {}],
    ['GET', ERROR, { 'error.type': 'closed' }],
    ['GET', UNSET, { 'http.request.resend_count': 1 }],
  ]);
  t.strictSame(
    upstream.asked.map(([, parent]) => parent),
    calls.map(({ spanId }) => spanId),
  );
});

t.test('commands and batches of Redis are spans, without their arguments', async (t) => {
  const redis = await startRedis(t);
  const { calls } = await trace(t, 'redis', 'inline', { MOONRING_TEST_REDIS: redis.url });
  const own = {
    'db.system.name': 'redis',
    'db.namespace': '0',
    'server.address': redis.path,
    'network.transport': 'unix',
  };
  const named = (name: string, more = {}) => ({ ...own, 'db.operation.name': name, ...more });
  const failed = { 'db.response.status_code': 'ERR', 'error.type': 'ERR' };
  t.strictSame(brief(calls), [
    ['SET', UNSET, named('SET')],
    ['INCR', ERROR, named('INCR', failed)],
    ['PIPELINE', UNSET, named('PIPELINE', { 'db.operation.batch.size': 2 })],
    ['MULTI', UNSET, named('MULTI', { 'db.operation.batch.size': 1 })],
    ['SELECT', UNSET, named('SELECT')],
  ]);
});

const skip = postgresPrograms ? false : 'PostgreSQL is not installed';

t.test(
  'statements are spans, with their text if its values are parameters',
  { skip },
  async (t) => {
    const postgres = await startPostgres(t);
    const env = { MOONRING_TEST_DB: postgres.url({ tcp: true }) };
    const { calls } = await trace(t, 'postgres', 'inline', env);
    const own = {
      'db.system.name': 'postgresql',
      'db.namespace': 'app',
      'server.address': '127.0.0.1',
      'server.port': postgres.port,
    };
    const named = (name: string, more = {}) => ({ ...own, 'db.query.summary': name, ...more });
    const division = { 'db.response.status_code': '22012', 'error.type': '22012' };
    t.strictSame(brief(calls), [
      ['SELECT', UNSET, named('SELECT', { 'db.query.text': 'SELECT $1::text' })],
      ['SELECT', UNSET, named('SELECT')],
      ['SELECT', ERROR, named('SELECT', { 'db.query.text': 'SELECT 1 / $1::int', ...division })],
      ['BEGIN', UNSET, named('BEGIN')],
      ['PIPELINE', UNSET, named('PIPELINE')],
      ['COMMIT', UNSET, named('COMMIT')],
      ['COPY', UNSET, named('COPY')],
    ]);
  },
);

t.test('an unreachable database is the error of the first call', async (t) => {
  const { calls } = await trace(t, 'broken', 'inline', {});
  t.match(brief(calls), [
    ['GET', ERROR, { 'error.type': 'unavailable' }],
    ['BEGIN', ERROR, { 'error.type': 'refused' }],
  ]);
});

t.test('calls of a request that is not sampled are not exported', async (t) => {
  const collector = await openCollector(t);
  const upstream = await openUpstream(t);
  const env = { MOONRING_TEST_UPSTREAM: upstream.url };
  const args = ['--otlp', collector.url, '--trace-sample', '1000000'];
  const server = await startServer(t, { app: 'calls.lua', args, env });
  t.equal(await ask(server, 'http', '00'), 200);
  await server.stop();
  t.strictSame(collector.spans, []);
});

t.test('a sampled request without a trace starts one for its calls', async (t) => {
  const collector = await openCollector(t);
  const args = ['--otlp', collector.url, '--trace-sample', '1', '--access-log', 'json'];
  const server = await startServer(t, { app: 'calls.lua', args, env: SOON });
  t.equal((await fetch(`${server.url}/broken`)).status, 200);
  const line = await server.logLine('access log', ({ msg }) => msg === 'request completed');
  await requestSpan(collector);
  await server.stop();
  const [get, begin, request] = collector.spans;
  t.equal(get?.parentSpanId, request?.spanId);
  t.equal(begin?.parentSpanId, request?.spanId);
  t.equal(request?.parentSpanId ?? '', '');
  t.match(line, { traceId: request?.traceId, spanId: request?.spanId });
  t.equal(get?.traceId, request?.traceId);
});
