import t from 'tap';
import { spanOf } from '../../../../src/master/log/spans.js';

const newId = (bytes: number) => 'ab'.repeat(bytes);
const [TRACE, PARENT, SPAN] = [
  '0af7651916cd43dd8448eb211c80319c',
  'b7ad6b7169203331',
  '00f067aa0ba902b7',
];

/** As written by a reactor. */
function line(span: object, changes: object = {}) {
  return JSON.stringify({
    span: { ...span, begun: 1_700_000_000_123_456 },
    ...{ time: 1_700_000_000_124, pid: 12, hostname: 'h', reactor: 3, gen: 4, reqId: 'a-1' },
    req: {
      ...{ method: 'GET', url: '/a/b?token=secret', host: 'example.org:8080' },
      ...{ remoteAddress: '192.0.2.1', remotePort: 5000 },
    },
    ...{ res: { statusCode: 200 }, bytesOut: 14, msg: 'request completed', responseTime: 1.25 },
    ...changes,
  });
}

t.test('a request is a server span, from its first byte to its last', async (t) => {
  const span = spanOf(line({ traceId: TRACE, parentId: PARENT, spanId: SPAN }), newId);
  t.match(span, {
    name: 'GET',
    kind: 1,
    context: { traceId: TRACE, spanId: SPAN, traceFlags: 1 },
    parentSpanContext: { traceId: TRACE, spanId: PARENT, isRemote: true },
    startTime: [1_700_000_000, 123_456_000],
    endTime: [1_700_000_000, 124_706_000],
    duration: [0, 1_250_000],
    status: { code: 0 },
  });
  t.strictSame(span?.attributes, {
    'http.request.method': 'GET',
    'http.response.status_code': 200,
    'url.path': '/a/b',
    'server.address': 'example.org',
    'server.port': 8080,
    'client.address': '192.0.2.1',
    'network.peer.address': '192.0.2.1',
    'network.peer.port': 5000,
    'http.response.body.size': 14,
    'moonring.reactor': 3,
    'moonring.generation': 4,
    'moonring.request.id': 'a-1',
  });
  t.notMatch(JSON.stringify(span), /secret/, 'no query');
});

t.test('a request without a trace starts one', async (t) => {
  const span = spanOf(line({}), newId);
  t.match(span?.context, { traceId: 'ab'.repeat(16), spanId: 'ab'.repeat(8) });
  t.notOk(span && 'parentSpanContext' in span);
});

t.test('a 5xx is an error, a 4xx is the client\u2019s', async (t) => {
  const failed = spanOf(line({}, { res: { statusCode: 503 } }), newId);
  t.match(failed, { status: { code: 2 }, attributes: { 'error.type': '503' } });
  t.match(spanOf(line({}, { res: { statusCode: 404 } }), newId), { status: { code: 0 } });
});

t.test('a log text of a handler that begins the same way is not a span', async (t) => {
  for (const text of [
    '{"span":',
    '{"span":1}',
    '{"span":{}}',
    '{"span":{"begun":"x"},"responseTime":1}',
  ]) {
    t.equal(spanOf(text, newId), null, text);
  }
  const odd = spanOf(line({ traceId: 'NONSENSE', parentId: 7 }), newId);
  t.match(odd?.context, { traceId: 'ab'.repeat(16) });
});
