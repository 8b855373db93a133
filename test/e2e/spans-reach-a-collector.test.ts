import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { packageRoot } from '../../src/shared/package-info.js';
import { openCollector } from './collector.js';
import { runMaster, startServer } from './server.js';
import { until } from './until.js';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const PARENT = 'b7ad6b7169203331';

t.test('sampled requests are exported as spans, the last ones at exit', async (t) => {
  const begunMs = Date.now();
  const collector = await openCollector(t);
  const args = ['--otlp', collector.url, '--trace-sample', '1000000'];
  const server = await startServer(t, { processes: 2, args });
  const ask = (path: string, flags: string) =>
    fetch(server.url + path, { headers: { traceparent: `00-${TRACE}-${PARENT}-${flags}` } });
  await ask('/one?secret=1', '01');
  await ask('/other', '00');
  await fetch(server.url);
  t.strictSame(await server.stop(), { code: 0, signal: null });
  const [span] = collector.spans;
  if (collector.spans.length !== 1 || span === undefined)
    throw new Error(JSON.stringify(collector));
  t.match(span, { traceId: TRACE, parentSpanId: PARENT, kind: 2 });
  t.match(span.attributes, [
    { key: 'http.request.method', value: { stringValue: 'GET' } },
    { key: 'http.response.status_code', value: { intValue: 404 } },
    { key: 'url.path', value: { stringValue: '/one' } },
  ]);
  const [start, end] = [span.startTimeUnixNano, span.endTimeUnixNano].map((ns) => Number(ns) / 1e6);
  t.ok(
    begunMs - 10 < Number(start) && Number(start) < Number(end) && Number(end) < Date.now() + 10,
  );
  t.notOk(server.stdout().includes('"span"'), 'they are not in the log');
});

t.test('a collector that rejects spans is logged, and delays nothing', async (t) => {
  const collector = await openCollector(t);
  collector.refuse();
  const env = { OTEL_BSP_SCHEDULE_DELAY: '50' };
  const args = ['--otlp', collector.url, '--trace-sample', '1'];
  const server = await startServer(t, { args, env });
  t.equal((await fetch(server.url)).status, 200);
  const line = await server.logLine('the warning', ({ msg }) => /could not be exported/.test(msg));
  t.match(line, { level: 40, spans: 1, endpoint: collector.url });
  t.match(await metrics(server), /^moonring_spans_total\{outcome="lost"\} 1$/m);
  t.strictSame(await server.stop(), { code: 0, signal: null });
});

t.test('an end does not wait for a collector that hangs, and logs what is lost', async (t) => {
  const collector = await openCollector(t);
  const held = collector.hold();
  const server = await startServer(t, { args: ['--otlp', collector.url, '--trace-sample', '1'] });
  t.equal((await fetch(server.url)).status, 200);
  t.strictSame(await server.stop(), { code: 0, signal: null });
  const line = await server.logLine('the loss', ({ msg }) =>
    /could not be exported in time/.test(msg),
  );
  t.match(line, { level: 40, spans: 1, endpoint: collector.url });
  held.release();
});

t.test('spans beyond the queue limit are lost and counted, the others are sent', async (t) => {
  const collector = await openCollector(t);
  const env = { OTEL_BSP_MAX_QUEUE_SIZE: '4', OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '4' };
  const args = ['--otlp', collector.url, '--trace-sample', '1'];
  const held = collector.hold();
  const server = await startServer(t, { args, env });
  const asked = 30;
  for (let i = 0; i < asked; i += 1) await fetch(server.url);
  // The first batch is in flight, another is queued: the rest is lost.
  const counted = async () => {
    const text = await metrics(server);
    const count = (outcome: string) =>
      Number(
        new RegExp(`^moonring_spans_total\\{outcome="${outcome}"\\} (\\d+)$`, 'm').exec(text)?.[1],
      );
    return { sent: count('sent'), lost: count('lost') };
  };
  await until('spans are lost', async () => (await counted()).lost > 0);
  held.release();
  await until('every span is counted', async () => {
    const { sent, lost } = await counted();
    return sent + lost === asked;
  });
  const { sent } = await counted();
  t.equal(collector.spans.length, sent);
  t.ok(sent >= 4);
});

async function metrics({ admin }: { readonly admin: string }): Promise<string> {
  return (await fetch(`${admin}/metrics`)).text();
}

/** A loader for Node that finds no OpenTelemetry package, as if none were installed. */
function withoutPackages(): string {
  const hooks = `export function resolve(name, context, next) {
    if (!name.startsWith('@opentelemetry/')) return next(name, context);
    throw Object.assign(new Error("Cannot find package '" + name + "'"), { code: 'ERR_MODULE_NOT_FOUND' });
  }`;
  const moduleOf = (text: string) => `data:text/javascript,${encodeURIComponent(text)}`;
  const register = `import { register } from 'node:module'; register(${JSON.stringify(moduleOf(hooks))});`;
  return `--import=${moduleOf(register)}`;
}

t.test('without the packages the start fails with the command that installs them', async (t) => {
  const args = ['--otlp', 'http://127.0.0.1:1', '--port', '0', '--admin', 'off'];
  const env = { NODE_OPTIONS: withoutPackages() };
  const { code, stderr } = await runMaster(args, { env });
  t.equal(code, 78);
  t.match(stderr, /--otlp needs packages .*Cannot find package '@opentelemetry\//);
  const manifest = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8'));
  const named = [...stderr.matchAll(/(@opentelemetry\/[a-z-]+)@(\d+)/g)];
  t.strictSame(
    Object.fromEntries(named.map(([, name, major]) => [name, major])),
    Object.fromEntries(
      Object.entries(manifest.peerDependencies).map(([name, range]) => [
        name,
        /\d+/.exec(String(range))?.[0],
      ]),
    ),
    'they are the peers of the package',
  );
  for (const name of Object.keys(manifest.peerDependencies)) {
    t.strictSame(manifest.peerDependenciesMeta[name], { optional: true }, name);
    t.ok(manifest.devDependencies[name], 'the tests run with it');
  }
});
