import { spawnSync } from 'node:child_process';
import { type IncomingMessage, request } from 'node:http';
import { brotliDecompressSync, createGunzip, gunzipSync, gzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { hasProgram, type Server, startServer } from './server.js';
import { within } from './until.js';

const COMPRESS = ['--compress', 'br,gzip', '--compress-gzip-level', '4'];

interface Got {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

function open(
  server: Server,
  path: string,
  acceptEncoding?: string,
  method = 'GET',
): Promise<IncomingMessage> {
  const headers = acceptEncoding === undefined ? {} : { 'Accept-Encoding': acceptEncoding };
  return new Promise((resolve, reject) => {
    const { host, port } = server;
    request({ host, port, path, headers, method, agent: false }, resolve).on('error', reject).end();
  });
}

async function get(
  server: Server,
  path: string,
  acceptEncoding?: string,
  method?: string,
): Promise<Got> {
  const response = await open(server, path, acceptEncoding, method);
  const pieces: Buffer[] = [];
  for await (const piece of response) pieces.push(piece as Buffer);
  const { statusCode: status = 0, headers } = response;
  return { status, headers, body: Buffer.concat(pieces) };
}

/** Every path that a response can take: inline, after a wait, on a worker; whole and in pieces. */
async function compareAll(t: Test, server: Server, paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    for (const bytes of [1024, 5000, 65_536, 65_537, 1_000_000]) {
      const target = `${path}?${bytes}`;
      const plain = await get(server, target);
      t.equal(plain.body.length, bytes, target);
      t.equal(plain.headers.etag, '"one"');
      t.equal(plain.headers.vary, 'Accept-Encoding');
      const gzip = await get(server, target, 'gzip');
      t.equal(gzip.headers['content-encoding'], 'gzip', target);
      t.ok(gunzipSync(gzip.body).equals(plain.body), `gzip of ${target}`);
      t.equal(gzip.headers.etag, 'W/"one"');
      const br = await get(server, target, 'gzip, deflate, br');
      t.equal(br.headers['content-encoding'], 'br', target);
      t.ok(brotliDecompressSync(br.body).equals(plain.body), `br of ${target}`);
      t.ok(br.body.length < bytes / 2 && gzip.body.length < bytes / 2, `${target} is shorter`);
    }
  }
}

t.test('with --compress', async (t) => {
  // Inline: a handler that had to wait for the CPU would count as slow and move to a worker, whose Lua
  // state has its own variables.
  const args = [...COMPRESS, '--dispatch', 'inline'];
  const server = await startServer(t, { app: 'compressed.lua', args });

  t.test('the decoded content is what the handler sent', async (t) => {
    await compareAll(t, server, ['/text', '/waits', '/worker']);
    const never = await get(server, '/never?5000', 'gzip');
    t.equal(never.headers['content-encoding'], undefined);
    t.equal(never.headers.vary, undefined);
    t.equal((await get(server, '/text?1023', 'gzip')).body.length, 1023);
  });

  t.test('files are not compressed, wherever the cache keeps them', async (t) => {
    const asked = await get(server, '/file');
    t.match(asked, { status: 200, headers: { etag: /^"/ } });
    for (const method of ['GET', 'HEAD', 'GET', 'HEAD']) {
      const got = await get(server, '/file', 'gzip', method);
      t.equal(got.headers['content-encoding'], undefined, method);
      t.equal(got.headers.etag, asked.headers.etag);
      t.equal(got.headers['content-length'], String(asked.body.length));
    }
  });

  t.test('a flush makes what was written so far readable', async (t) => {
    const response = await open(server, '/stream?3', 'gzip');
    t.equal(response.headers['content-encoding'], 'gzip');
    const decoder = response.pipe(createGunzip());
    let text = '';
    let arrived = () => {};
    decoder.on('data', (piece: Buffer) => {
      text += piece.toString();
      arrived();
    });
    const ended = new Promise((resolve) => decoder.on('end', resolve));
    for (const piece of [1, 2, 3]) {
      while (!text.endsWith(`piece ${piece} `)) {
        await within(
          `piece ${piece}`,
          new Promise<void>((resolve) => {
            arrived = resolve;
          }),
        );
      }
      t.equal((await get(server, '/next')).body.toString(), 'rung');
    }
    await within('the end', ended);
    t.equal(text.length, 'piece 1 piece 2 piece 3 '.length + 100_000);
  });

  t.test('curl --compressed gets the same', { skip: !hasProgram('curl') }, async (t) => {
    for (const bytes of [2000, 300_000]) {
      const url = `${server.url}/text?${bytes}`;
      const plain = await get(server, `/text?${bytes}`);
      const { status, stdout } = spawnSync('curl', ['-s', '--compressed', url]);
      t.equal(status, 0);
      t.ok(stdout.equals(plain.body));
    }
  });
});

/** Programs that decode standard input. */
const DECODERS: readonly (readonly [string, string, ...string[]])[] = [
  ['br', 'brotli', '-dc'],
  ['gzip', 'gzip', '-dc'],
  ['gzip', 'zstd', '-dc'],
  [
    ...(['gzip', 'python3', '-c'] as const),
    'import gzip, sys; sys.stdout.buffer.write(gzip.decompress(sys.stdin.buffer.read()))',
  ],
];

t.test('other programs decode the same', async (t) => {
  const server = await startServer(t, { app: 'compressed.lua', args: COMPRESS });
  for (const [coding, program, ...args] of DECODERS) {
    const skip = hasProgram(program) ? false : `${program} is not installed`;
    t.test(program, { skip }, async (t) => {
      for (const bytes of [2000, 300_000]) {
        const plain = await get(server, `/text?${bytes}`);
        const { headers, body } = await get(server, `/text?${bytes}`, coding);
        t.equal(headers['content-encoding'], coding);
        const { stdout } = spawnSync(program, args, { input: body, maxBuffer: 2 ** 20 });
        t.ok(stdout.equals(plain.body), `${bytes} bytes`);
      }
    });
  }
});

t.test('on worker threads', async (t) => {
  const args = [...COMPRESS, '--dispatch', 'worker'];
  const server = await startServer(t, { app: 'compressed.lua', args });
  await compareAll(t, server, ['/text', '/waits']);
  t.strictSame(await server.stop(), { code: 0, signal: null });
});

t.test('without --compress', async (t) => {
  const server = await startServer(t, { app: 'compressed.lua' });

  t.test('nothing is compressed', async (t) => {
    const { headers, body } = await get(server, '/text?5000', 'gzip, br');
    t.equal(headers['content-encoding'], undefined);
    t.equal(headers.vary, undefined);
    t.equal(headers.etag, '"one"');
    t.equal(body.length, 5000);
  });

  t.test('content of requests is decoded when the handler asks for it', async (t) => {
    const text = 'some text. '.repeat(1000);
    async function post(body: Buffer, coding: string | null, limit = 1_000_000) {
      const headers = coding === null ? {} : { 'Content-Encoding': coding };
      const response = await fetch(`${server.url}/decoded?${limit}`, {
        method: 'POST',
        body,
        headers,
      });
      return [response.status, await response.text()] as const;
    }
    t.strictSame(await post(gzipSync(text), 'gzip'), [200, text]);
    t.strictSame(await post(gzipSync(text), 'X-GZip'), [200, text]);
    t.strictSame(await post(Buffer.from(text), null), [200, text]);
    t.strictSame(await post(Buffer.from(text), 'identity'), [200, text]);
    t.match(await post(gzipSync(text), 'br'), [415, /Content-Encoding br/]);
    t.match(await post(gzipSync(text), 'gzip, gzip'), [415, /gzip, gzip/]);
    t.match(await post(Buffer.from(text), 'gzip'), [400, /malformed/]);
    t.match(await post(gzipSync(text).subarray(0, 20), 'gzip'), [400, /incomplete/]);
    t.match(await post(gzipSync(text), 'gzip', 1000), [413, /more than 1000 bytes/]);
    t.strictSame(await post(gzipSync(text), 'gzip', text.length), [200, text]);
    const bomb = gzipSync(Buffer.alloc(50_000_000));
    t.match(await post(bomb, 'gzip', 100_000_000), [413, /more than 256 times/]);
    t.match(await post(bomb, 'gzip'), [413, /more than 1000000 bytes/]);
  });
});
