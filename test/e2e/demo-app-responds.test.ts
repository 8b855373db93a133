import t from 'tap';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';

const server = await startServer(t);
const client = await connectRaw(t, server);

t.test('GET / is the greeting', async (t) => {
  const response = await client.request(requestText('/'));
  t.equal(response.status, 200);
  t.equal(response.reason, 'OK');
  t.equal(response.headers.get('content-type'), 'text/plain');
  t.equal(response.headers.get('content-length'), '13');
  t.equal(response.body.toString(), 'hello, world\n');
});

t.test('a query does not change the route', async (t) => {
  const response = await client.request(requestText('/?a=/echo'));
  t.equal(response.body.toString(), 'hello, world\n');
});

t.test('a target in absolute form is served like its path', async (t) => {
  const response = await client.request(requestText('http://localhost/'));
  t.equal(response.body.toString(), 'hello, world\n');
});

t.test('HEAD has the head of GET and no body', async (t) => {
  const get = await client.request(requestText('/'));
  const head = await client.request(requestText('/', { method: 'HEAD' }), 'HEAD');
  t.equal(head.status, 200);
  t.equal(head.headers.get('content-length'), get.headers.get('content-length'));
  t.equal(head.headers.get('content-type'), get.headers.get('content-type'));
  t.equal(head.body.length, 0);
  const after = await client.request(requestText('/'));
  t.equal(after.body.toString(), 'hello, world\n', 'the connection goes on in step');
});

t.test('/echo responds with the content and Content-Type of the request', async (t) => {
  for (const method of ['POST', 'PUT']) {
    const headers = { 'Content-Type': 'application/x-test; a="b"', 'Content-Length': '5' };
    const text = `${requestText('/echo', { method, headers })}he\0lo`;
    const response = await client.request(text, method);
    t.equal(response.status, 200);
    t.equal(response.headers.get('content-type'), 'application/x-test; a="b"');
    t.equal(response.body.toString('latin1'), 'he\0lo');
  }
});

t.test('/echo without a body is empty', async (t) => {
  const headers = { 'Content-Length': '0' };
  const response = await client.request(requestText('/echo', { method: 'POST', headers }), 'POST');
  t.equal(response.status, 200);
  t.equal(response.headers.get('content-type'), 'application/octet-stream');
  t.equal(response.body.length, 0);
});

t.test('/headers shows the fields sent, whatever the case of their names', async (t) => {
  const headers = { 'USER-agent': 'test/1.0', accept: 'text/plain' };
  const response = await client.request(requestText('/headers', { headers }));
  t.equal(response.status, 200);
  t.equal(response.body.toString(), 'host: localhost\nuser-agent: test/1.0\naccept: text/plain\n');
});

t.test('an unknown path is 404', async (t) => {
  for (const target of ['/nothing', '/echo/', '/Echo', '//']) {
    const response = await client.request(requestText(target));
    t.equal(response.status, 404, target);
    t.equal(response.reason, 'Not Found');
    t.equal(response.body.toString(), 'not found\n');
  }
});

t.test('a method that a path does not take is 405 with Allow', async (t) => {
  const onRoot = await client.request(requestText('/', { method: 'DELETE' }), 'DELETE');
  t.equal(onRoot.status, 405);
  t.equal(onRoot.reason, 'Method Not Allowed');
  t.equal(onRoot.headers.get('allow'), 'GET, HEAD, OPTIONS');
  const onEcho = await client.request(requestText('/echo'));
  t.equal(onEcho.status, 405);
  t.equal(onEcho.headers.get('allow'), 'OPTIONS, POST, PUT');
});

t.test('OPTIONS is 204 with Allow, without body and Content-Length', async (t) => {
  const response = await client.request(requestText('/', { method: 'OPTIONS' }), 'OPTIONS');
  t.equal(response.status, 204);
  t.equal(response.headers.get('allow'), 'GET, HEAD, OPTIONS');
  t.notOk(response.headers.has('content-length'));
  const after = await client.request(requestText('/'));
  t.equal(after.status, 200, 'the connection goes on in step');
});
