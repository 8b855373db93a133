import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import t from 'tap';
import { runTop } from '../../../../src/master/top/top.js';
import type { Address } from '../../../../src/shared/addresses.js';

const run = (admin: readonly Address[]) =>
  runTop({ admin, stdin: process.stdin, stdout: process.stdout, colour: false });

t.test('without an address, or a server at it, there is an error', async (t) => {
  const needs = { code: 'ERR_MOONRING_USAGE', message: /--admin \/path\/to\/socket/ };
  await t.rejects(run([]), needs);
  await t.rejects(run([{ type: 'unix', path: '/nonexistent/none.sock' }]), {
    code: 'ERR_MOONRING_CONTROL',
    message: /no response from a server at .*none\.sock: connect ENOENT/,
  });
});

t.test('so is a response that is not a report', async (t) => {
  const server = createServer((_, response) => response.writeHead(404).end());
  t.teardown(() => server.close());
  const path = join(mkdtempSync(join(tmpdir(), 'moonring-')), 'other.sock');
  await new Promise<void>((done) => server.listen(path, done));
  t.teardown(() => rmSync(dirname(path), { recursive: true }));
  await t.rejects(run([{ type: 'unix', path }]), { message: /other\.sock: status 404/ });
});
