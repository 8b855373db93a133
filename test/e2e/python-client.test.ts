import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import t from 'tap';
import { hasProgram, startServer } from './server.js';

const run = promisify(execFile);

/** Python's http.client: keep-alive, Content-Length, chunked, refusals. */
const PROGRAM = `
import http.client, sys
c = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=10)
def ask(method, path, **more):
    c.request(method, path, **more)
    r = c.getresponse()
    print(r.version, r.status, r.reason, r.read().decode())
ask("GET", "/")
sock = c.sock
ask("POST", "/echo", body="with a length")
ask("POST", "/echo", body=iter([b"in ", b"chunks"]), encode_chunked=True)
ask("HEAD", "/")
ask("GET", "/nothing")
ask("PUT", "/echo", body="x" * 100000)
print(c.sock is sock)
try:
    c.putrequest("GET", "/", skip_host=True)
    c.endheaders()
    print(c.getresponse().status)
except OSError as e:
    print(e)
`;

const skip = hasProgram('python3') ? false : 'python3 is not installed';

t.test('http.client', { skip }, async (t) => {
  const server = await startServer(t);
  const args = ['-c', PROGRAM, server.host, String(server.port)];
  const { stdout } = await run('python3', args, { maxBuffer: 1024 * 1024 });
  t.strictSame(stdout.split('\n'), [
    '11 200 OK hello, world',
    '',
    '11 200 OK with a length',
    '11 200 OK in chunks',
    '11 200 OK ',
    '11 404 Not Found not found',
    '',
    `11 200 OK ${'x'.repeat(100_000)}`,
    'True',
    '400',
    '',
  ]);
});
