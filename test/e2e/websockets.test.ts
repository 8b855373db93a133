import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { metricsOf } from './admin-client.js';
import { makeCertificate } from './certificate.js';
import { changingConfig } from './changing-config.js';
import { pythonWith } from './python-with.js';
import { connectRaw } from './raw-client.js';
import { startServer, tlsPortOf } from './server.js';
import { until } from './until.js';
import { type Client, connect, refusal } from './websocket-client.js';

/** Python's websockets: text, binary, fragments, pings, rejections, closing from both ends. */
const PYTHON = `
import asyncio, sys, websockets

async def main():
    url = "ws://%s:%s" % (sys.argv[1], sys.argv[2])
    async with websockets.connect(url + "/chat", subprotocols=["news"], compression=None) as ws:
        print(ws.subprotocol, await ws.recv())
        await ws.send("text")
        print(await ws.recv())
        await ws.send([b"frag", b"men", b"ts"])
        print(await ws.recv())
        await asyncio.wait_for(await ws.ping(b"payload"), 20)
        await ws.send("x" * 90000)
        print(len(await ws.recv()))
        await ws.send("close")
        print(await ws.recv())
        await ws.wait_closed()
        print(ws.close_code, ws.close_reason)
    async with websockets.connect(url + "/receive", compression=None) as ws:
        await ws.send("x" * 200000)
        await ws.wait_closed()
        print(ws.close_code)
    try:
        await websockets.connect(url + "/chat", origin="https://evil.example")
    except websockets.exceptions.InvalidStatusCode as e:
        print(e.status_code)

asyncio.run(main())
`;
const python = await pythonWith('websockets');
const noPython = python ? false : 'the websockets of Python is not installed';

t.test('WebSockets of one server', { timeout: 120_000 }, async (t) => {
  const args = ['--ws-max-message', '100k', '--dispatch', 'inline', '--access-log', 'json'];
  const server = await startServer(t, { app: 'websockets.lua', processes: 1, args });
  const get = async (path: string) => await (await fetch(server.url + path)).text();
  const closed = async (line: string) => {
    let all = '';
    await until(`the end: ${line}`, async () => {
      all += `${await get('/closed')}\n`;
      return all.includes(line);
    });
  };

  t.test('callbacks: messages are echoed in order', async (t) => {
    const client = await connect(t, server, '/chat', { protocols: ['other', 'news', 'chat'] });
    t.equal(client.socket.protocol, 'news');
    t.equal(await client.next(), 'hello, news');
    client.send('text');
    client.send(Buffer.from('bytes'));
    client.send('x'.repeat(70_000));
    t.strictSame(await client.nextMessage(), { text: 'text', isBinary: false });
    t.strictSame(await client.nextMessage(), { text: 'bytes', isBinary: true });
    t.equal((await client.next()).length, 70_000);
    client.socket.close(4000, 'bye');
    t.strictSame(await client.closed, { code: 4000, reason: '' });
    await closed('4000 bye 3');
  });

  t.test('a callback that waits blocks only its socket', async (t) => {
    const [one, other] = [await connect(t, server, '/chat'), await connect(t, server, '/chat')];
    await one.next();
    await other.next();
    one.send('sleep');
    one.send('behind it');
    one.send('ask');
    other.send('not behind it');
    t.equal(await other.next(), 'not behind it');
    t.strictSame(
      [await one.next(), await one.next(), await one.next()],
      ['slept', 'behind it', 'answer'],
    );
    one.send('sleep');
    one.socket.close(1000);
    await closed('1000  4');
  });

  t.test('a callback that raises an error: on_error, then 1011', async (t) => {
    const client = await connect(t, server, '/chat');
    await client.next();
    client.send('fail');
    t.match(await client.next(), /^error: .*as it was told/);
    t.match(await client.closed, { code: 1011 });
    await server.logLine('the error', ({ msg }) => /lua error in a WebSocket: .*told/.test(msg));
  });

  t.test('a handler closes the socket', async (t) => {
    const client = await connect(t, server, '/chat');
    await client.next();
    client.send('close');
    client.send('too late');
    t.equal(await client.next(), 'last');
    t.strictSame(await client.closed, { code: 4001, reason: 'as it was told' });
    await closed('4001 as it was told 1');
  });

  t.test('a handler that calls receive', async (t) => {
    const client = await connect(t, server, '/receive');
    client.send('wait');
    t.equal(await client.next(), 'nil timeout');
    client.send('text');
    client.send(Buffer.from('bytes'));
    t.strictSame(await client.nextMessage(), { text: 'text', isBinary: false });
    t.strictSame(await client.nextMessage(), { text: 'bytes', isBinary: true });
    client.socket.close(4002, 'why');
    await closed('4002 why');
    for (const [word, code] of [
      ['return', 1000],
      ['fail', 1011],
    ] as const) {
      const other = await connect(t, server, '/receive');
      other.send(word);
      t.equal((await other.closed).code, code);
    }
    const late = await connect(t, server, '/later');
    t.equal(await late.next(), 'at last');
    await connect(t, server, '/left-behind');
    await closed('left behind: nil closed 1000');
  });

  t.test('invalid handshakes are rejected with a reason', async (t) => {
    const plain = await fetch(`${server.url}/chat`);
    t.equal(plain.status, 426);
    t.match(await plain.text(), 'no Upgrade: websocket');
    const foreign = { headers: { origin: 'https://evil.example' } };
    t.equal(await refusal(server, '/chat', foreign), 403);
    t.equal(await refusal(server, '/none', {}), 404);
    const same = await connect(t, server, '/chat', {
      headers: { origin: `http://${server.host}:${server.port}` },
    });
    t.equal(await same.next(), 'hello, nil');
    const any = await connect(t, server, '/any-origin', foreign);
    any.send('x');
    t.match(
      await get('/misuse'),
      /"on_mesage": did you mean "on_message".*on_close without.*function/s,
    );
  });

  t.test('websockets of Python', { skip: noPython }, async (t) => {
    const run = promisify(execFile);
    const where = [server.host, String(server.port)];
    const { stdout } = await run(python ?? '', ['-c', PYTHON, ...where], { timeout: 60_000 });
    t.strictSame(stdout.split('\n'), [
      'news hello, news',
      'text',
      "b'fragments'",
      '90000',
      'last',
      '4001 as it was told',
      '1009',
      '403',
      '',
    ]);
  });

  t.test('exceeding a limit closes a socket with the right code', async (t) => {
    const client = await connect(t, server, '/chat');
    client.send('x'.repeat(102_401));
    t.strictSame(await client.closed, { code: 1009, reason: 'a message is too long' });
  });

  t.test('frames in the segment of the handshake', async (t) => {
    const { socket } = await connectRaw(t, server);
    const frame = Buffer.from([0x81, 0x82, 1, 2, 3, 4, 0x68 ^ 1, 0x69 ^ 2]);
    const head =
      'GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n';
    socket.write(Buffer.concat([Buffer.from(head), frame]));
    let got = '';
    socket.on('data', (data) => {
      got += data.toString('latin1');
    });
    await until('the echo', () => got.includes('\x81\x0ahello, nil\x81\x02hi'));
    t.match(got, /^HTTP\/1.1 101 Switching Protocols\r\n.*s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/s);
    socket.destroy();
    await closed('1006  1');
  });

  t.test('a client that never reads is closed, whichever side sends', async (t) => {
    const client = await connect(t, server, '/listen');
    client.socket.pause();
    await get('/broadcast');
    await get('/broadcast');
    await closed('listener 1006');
    t.equal((await metricsOf(server)).get('moonring_websocket_slow_consumers_total'), 1);
  });

  t.test('events are counted and logged', async (t) => {
    const metrics = await metricsOf(server);
    for (const [name, least] of [
      ['moonring_connections{reactor="0",state="websocket"}', 0],
      ['moonring_websockets_opened_total', 10],
      ['moonring_websockets_closed_total{code="1011"}', 2],
      ['moonring_websockets_closed_total{code="application"}', 3],
      ['moonring_websocket_messages_total{direction="in"}', 10],
      ['moonring_websocket_bytes_total{direction="out"}', 70_000],
    ] as const) {
      t.ok((metrics.get(name) ?? -1) >= least, `${name}: ${metrics.get(name)}`);
    }
    const line = await server.logLine('its end', (each) => each['closeCode'] === 4000);
    t.match(line, {
      msg: 'websocket closed',
      req: { method: 'GET', url: '/chat' },
      res: { statusCode: 101 },
    });
    t.ok(Number(line['bytesOut']) > 70_000);
  });

  t.test('a drain closes them with 1001', async (t) => {
    const clients = await Promise.all(Array.from({ length: 8 }, () => connect(t, server, '/chat')));
    const waiting = await connect(t, server, '/receive');
    server.signal('SIGTERM');
    for (const { closed: end } of [...clients, waiting]) t.equal((await end).code, 1001);
    t.equal((await server.exited).code, 0);
  });
});

/** An echo with the version of the app and the number of the message on its socket. */
const appOf = (version: number) => `
local chat = {
  on_open = function(ws) ws.ctx.count = 0 end,
  on_message = function(ws, message)
    ws.ctx.count = ws.ctx.count + 1
    ws:send(('%s %d ${version}'):format(message, ws.ctx.count))
  end,
}
local echo = {}
for name, fn in pairs(chat) do echo[name] = fn end
function chat.on_handover(ws) return { count = ws.ctx.count } end

function on_reload(ws, data)
  ws.ctx.count = data.count
  return chat
end

function handle(req, res)
  if req.path == '/chat' then return req:websocket(chat) and nil end
  if req.path == '/echo' then return req:websocket(echo) and nil end
  if req.path == '/receive' then
    local ws = req:websocket()
    for message in ws:messages() do ws:send(message .. ' ${version}') end
    return
  end
  res:body('version ${version}')
end
`;

t.test('reloads keep WebSockets open, and lose no message', { timeout: 120_000 }, async (t) => {
  const path = join(t.testdir({ 'app.lua': appOf(1) }), 'app.lua');
  const args = ['--max-generations', '2'];
  const server = await startServer(t, { app: path, processes: 1, args });
  const reload = async (version: number) => {
    writeFileSync(path, appOf(version));
    server.signal('SIGHUP');
    await server.logLine(`generation ${version}`, ({ msg, generation }) => {
      return msg === 'reloaded' && generation === version;
    });
  };
  const chatting = await Promise.all(
    Array.from({ length: 50 }, () => connect(t, server, '/chat', { protocols: [] })),
  );
  let over = false;
  const chats = chatting.map(async (client) => {
    let last = '';
    for (let i = 1; !over; i++) {
      client.send(`m${i}`);
      const [message, count, version] = (await client.next()).split(' ');
      if (message !== `m${i}` || Number(count) !== i) throw new Error(`lost: ${message} ${count}`);
      last = String(version);
    }
    return last;
  });
  const receiving = await connect(t, server, '/receive');
  const echo = await connect(t, server, '/echo');
  const later: Client[] = [];
  for (let version = 2; version <= 4; version++) {
    await reload(version);
    // Without on_handover, and while a handler receives: their old code keeps running.
    for (const client of version === 2 ? [receiving, echo] : []) {
      client.send('x');
      t.match(await client.next(), / 1$/);
    }
    later.push(await connect(t, server, '/echo')); // every generation is needed
  }
  over = true;
  t.strictSame(new Set(await Promise.all(chats)), new Set(['4']), 'all have the newest code');
  // Too many generations: the oldest one ends, with its sockets.
  t.equal((await receiving.closed).code, 1012);
  t.equal((await echo.closed).code, 1012);
  later.at(-1)?.send('x');
  t.equal(await later.at(-1)?.next(), 'x 1 4');

  server.signal('SIGTERM');
  t.equal((await chatting[0]?.closed)?.code, 1001);
  t.equal((await server.exited).code, 0);
});

t.test('over TLS; a crash and a replaced process end sockets', { timeout: 120_000 }, async (t) => {
  const { cert, key } = makeCertificate(t);
  const tls = ['--tls-port', '0', '--tls-cert', cert, '--tls-key', key];
  const config = changingConfig(t.testdir({}));
  const args = [...tls, ...config.args];
  const server = await startServer(t, { app: 'websockets.lua', processes: 1, args });
  const url = `wss://localhost:${await tlsPortOf(server)}`;
  const origin = url.replace('wss', 'https');
  const client = await connect(t, server, '/chat', { url, headers: { origin } });
  t.equal(await client.next(), 'hello, nil');
  client.send('x'.repeat(60_000));
  t.equal((await client.next()).length, 60_000);
  client.socket.ping('are you there');
  const [payload] = await once(client.socket, 'pong');
  t.equal(String(payload), 'are you there');

  const plain = await connect(t, server, '/chat');
  const [pid = 0] = server.reactorPids();
  process.kill(pid, 'SIGKILL');
  for (const { closed } of [client, plain]) t.equal((await closed).code, 1006);
  const code1006 = 'moonring_websockets_closed_total{code="1006"}';
  await until('they are counted', async () => (await metricsOf(server)).get(code1006) === 2);

  const secure = await connect(t, server, '/chat', { url });
  const last = await connect(t, server, '/receive');
  config.change();
  server.signal('SIGHUP');
  for (const { closed } of [secure, last]) t.equal((await closed).code, 1012);
});
