import { execFileSync, spawnSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { connectRaw, requestText } from './raw-client.js';
import { runMaster, startServer } from './server.js';

/** A directory of files, in a parent directory that must not be reachable. */
function makeFiles(t: Test): string {
  const parent = mkdtempSync(join(tmpdir(), 'moonring-files-'));
  t.teardown(() => rmSync(parent, { recursive: true }));
  const root = join(parent, 'root');
  const write = (name: string, text: string) => writeFileSync(join(root, name), text);
  mkdirSync(join(root, 'sub'), { recursive: true });
  mkdirSync(join(root, 'hashed'));
  writeFileSync(join(parent, 'secret'), 'secret');
  write('index.html', '<h1>index</h1>');
  write('about.html', 'about');
  write('404.html', 'no such page');
  write('app.js', 'plain');
  write('app.js.br', 'brotli');
  write('app.js.gz', 'gzip');
  write('app.js.zst', 'zstd');
  write('hashed/a.css', 'a');
  write('.hidden', 'hidden');
  write('sub/<b>&".txt', 'odd');
  symlinkSync('../secret', join(root, 'link'));
  execFileSync('mkfifo', [join(root, 'fifo')]);
  // Only root may create a device, and not in every container.
  spawnSync('mknod', [join(root, 'null'), 'c', '1', '3'], { stdio: 'ignore' });
  return root;
}

interface Asked {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: string;
}

type Ask = (path: string, fields?: Record<string, string>, method?: string) => Promise<Asked>;

/** Sends paths unchanged, unlike fetch, which normalises them. */
async function asker(t: Test, server: { host: string; port: number }): Promise<Ask> {
  const client = await connectRaw(t, server);
  return async (path, fields = {}, method = 'GET') => {
    const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
    const text = `${method} ${path} HTTP/1.1\r\nHost: a\r\n${lines.join('')}\r\n`;
    const response = await client.request(text, method);
    const headers = Object.fromEntries(
      response.head
        .split('\r\n')
        .slice(1)
        .map((line) => {
          const [name = '', value = ''] = line.split(/: (.*)/s);
          return [name.toLowerCase(), value];
        }),
    );
    return { status: response.status, headers, body: response.body.toString() };
  };
}

t.test('files of a router and of res:file, and their conditions', async (t) => {
  const root = makeFiles(t);
  const server = await startServer(t, { app: 'files.lua', env: { FILES_ROOT: root } });
  const ask = await asker(t, server);

  const script = await ask('/assets/app.js', { 'Accept-Encoding': 'br;q=1, gzip;q=0.8' });
  t.match(script, {
    status: 200,
    body: 'brotli',
    headers: {
      'content-type': 'text/javascript; charset=utf-8',
      'content-encoding': 'br',
      vary: 'Accept-Encoding',
      'x-content-type-options': 'nosniff',
    },
  });
  t.match(await ask('/assets/app.js', { 'Accept-Encoding': 'zstd, br;q=0.9' }), {
    body: 'zstd',
    headers: { 'content-encoding': 'zstd' },
  });
  const etag = String(script.headers['etag']);
  t.match(await ask('/assets/app.js', { 'Accept-Encoding': 'br', 'If-None-Match': etag }), {
    status: 304,
    body: '',
    headers: { etag },
  });
  t.match(await ask('/assets/app.js', { 'If-None-Match': etag }), { status: 200, body: 'plain' });
  t.match(await ask('/assets/app.js', { Range: 'bytes=1-2' }), {
    status: 206,
    body: 'la',
    headers: { 'content-range': 'bytes 1-2/5' },
  });
  t.match(await ask('/assets/app.js', { Range: 'bytes=5-' }), {
    status: 416,
    headers: { 'content-range': 'bytes */5' },
  });
  t.match(await ask('/assets/app.js', {}, 'HEAD'), {
    status: 200,
    body: '',
    headers: { 'content-length': '5' },
  });
  t.match(await ask('/assets/hashed/a.css'), {
    headers: { 'cache-control': 'public, max-age=31536000, immutable' },
  });
  t.match(await ask('/assets/'), {
    body: '<h1>index</h1>',
    headers: { 'cache-control': 'no-cache' },
  });
  t.match(await ask('/assets'), { status: 301, headers: { location: '/assets/' } });
  t.match(await ask('/assets/sub?a=b'), { status: 301, headers: { location: '/assets/sub/?a=b' } });
  t.match(await ask('/assets/app.js', {}, 'POST'), { status: 405 });

  const page = await ask('/assets/sub/');
  t.match(page, { status: 200, headers: { 'content-type': 'text/html; charset=utf-8' } });
  t.match(page.body, 'href="./%3Cb%3E%26%22.txt">&lt;b&gt;&amp;&quot;.txt</a>');
  t.equal((await ask('/assets/sub/%3Cb%3E%26%22.txt')).body, 'odd');

  for (const path of [
    '../secret',
    '%2e%2e/secret',
    'sub/../../secret',
    '..%2fsecret',
    'link',
    'fifo',
    'null',
    '.hidden',
    'app.js/',
    'nope',
  ]) {
    t.match(await ask(`/assets/${path}`), { status: 404, body: 'none of ours' }, path);
    t.match(
      await ask(`/file/${path}`),
      path === '.hidden' ? { status: 200 } : { status: 404 },
      path,
    );
  }
  t.match(await ask('/assets/%00'), { status: 400 });
  t.match(await ask('/assets/%'), { status: 400 });

  t.match(await ask('/spa/users/1'), { status: 200, body: '<h1>index</h1>' });
  t.match(await ask('/spa/about'), { status: 200, body: 'about' });
  t.match(await ask('/spa/logo.png'), { status: 404, body: 'no such page' });
  t.match(await ask('/spa/logo.png', { Accept: 'text/html' }), { status: 200 });

  t.match(await ask('/file/app.js'), {
    body: 'plain',
    headers: { 'cache-control': 'private', vary: undefined },
  });
  t.match(await ask('/absolute?app.js'), { body: 'plain' });
  t.match(await ask('/absolute?sub'), { status: 404, body: 'a directory' });
  t.match(await ask('/file/sub'), { status: 404, body: 'a directory' });
  t.match(await ask('/download'), {
    headers: {
      'content-type': 'text/plain',
      'content-disposition':
        'attachment; filename="gr____e _1_.html"; filename*=UTF-8\'\'gr%C3%BC%C3%9Fe%20%221%22.html',
    },
  });
  t.match(await ask('/worker/app.js'), { status: 200, body: 'plain' });
  t.match(await ask('/preconditions'), { status: 200, body: 'content', headers: { etag: '"v1"' } });
  t.match(await ask('/preconditions', { 'If-None-Match': 'W/"v1"' }), { status: 304 });
  t.match(await ask('/preconditions', { 'If-Match': '"v2"' }), { status: 412 });
  t.match(await ask('/preconditions', { 'If-Modified-Since': 'Sun, 06 Nov 1994 08:49:37 GMT' }), {
    status: 304,
  });
  t.strictSame(await server.stop(), { code: 0, signal: null });
});

t.test('moonring serve needs no app', async (t) => {
  const root = makeFiles(t);
  const server = await startServer(t, {
    command: ['serve', root, '--spa', '--immutable', 'hashed/*', '--no-listing'],
  });
  const ask = await asker(t, server);
  t.match(await ask('/'), { status: 200, body: '<h1>index</h1>' });
  t.match(await ask('/users/1'), { status: 200, body: '<h1>index</h1>' });
  t.match(await ask('/nope.png'), { status: 404, body: 'no such page' });
  t.match(await ask('/sub/', { Accept: 'image/png' }), { status: 200, body: '<h1>index</h1>' });
  t.match(await ask('/hashed/a.css'), { headers: { 'cache-control': /immutable/ } });
  t.match(await ask('/app.js', { 'Accept-Encoding': 'gzip' }), { body: 'gzip' });
  t.match(await ask('/', {}, 'POST'), { status: 405, headers: { allow: 'GET, HEAD, OPTIONS' } });
  writeFileSync(join(root, 'new.txt'), 'new');
  t.match(await ask('/new.txt'), { status: 200, body: 'new' });
  t.strictSame(await server.stop(), { code: 0, signal: null });
});

t.test('a missing directory is a usage error', async (t) => {
  const { code, stderr } = await runMaster(['serve', '/no/such/directory']);
  t.equal(code, 2);
  t.match(stderr, 'serve: /no/such/directory is not a directory');
});

t.test('a file that changes during its transfer is truncated, a deleted one is sent', async (t) => {
  const root = makeFiles(t);
  const size = 64 * 1024 * 1024;
  for (const name of ['changed', 'shorter', 'replaced']) {
    writeFileSync(join(root, name), '');
    truncateSync(join(root, name), size);
  }
  const server = await startServer(t, {
    app: 'files.lua',
    args: ['--dispatch', 'inline'],
    env: { FILES_ROOT: root },
  });
  const begin = async (name: string) => {
    const client = await connectRaw(t, server);
    client.socket.pause();
    await client.send(requestText(`/assets/${name}`));
    return client;
  };
  const changed = await begin('changed');
  const shorter = await begin('shorter');
  const replaced = await begin('replaced');
  // Each response has begun when a later one on another connection has ended: no worker has them.
  const ask = await asker(t, server);
  await ask('/assets/app.js');

  utimesSync(join(root, 'changed'), 1, 1);
  truncateSync(join(root, 'shorter'), 1000);
  rmSync(join(root, 'replaced'));
  writeFileSync(join(root, 'replaced'), 'new');
  for (const client of [changed, shorter]) {
    client.socket.resume();
    await t.rejects(client.next(), /the connection is over/);
  }
  replaced.socket.resume();
  t.equal((await replaced.next()).body.length, size);
  t.strictSame(await server.stop(), { code: 0, signal: null });
});
