import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import WebSocket from 'ws';
import { startServer } from './server.js';
import { until } from './until.js';

/** More of both take longer than the suite allows: WS_RELOADS=20 WS_SOCKETS=1000. */
const RELOADS = Number(process.env.WS_RELOADS ?? 5);
const SOCKETS = Number(process.env.WS_SOCKETS ?? 100);

const PAUSE_MS = 20;

/** Echoes each message with its version and the number of messages on this socket so far. */
const appOf = (version: number) => `
local callbacks = {
  on_message = function(ws, message)
    ws.ctx.count = (ws.ctx.count or 0) + 1
    ws:send(('%d %d %s'):format(${version}, ws.ctx.count, message))
  end,
  on_handover = function(ws)
    return { count = ws.ctx.count }
  end,
}
function on_reload(ws, data)
  ws.ctx.count = data.count
  return callbacks
end
function handle(req, res)
  if req.path == '/publish' then
    moonring.publish('all', 'all ' .. req.query)
    return res:body('published'):send()
  end
  local ws = req:websocket(callbacks)
  if ws then ws:join 'all' end
end
`;

t.test('active sockets survive reloads, and no message is lost', async (t) => {
  const app = join(t.testdir(), 'app.lua');
  writeFileSync(app, appOf(1));
  const args = ['--accept', 'boss'];
  const server = await startServer(t, { app, processes: 2, args });
  let closed = 0;
  let isOver = false;
  const chatters = await Promise.all(
    Array.from({ length: SOCKETS }, async () => {
      const socket = new WebSocket(server.url.replace('http', 'ws'), { perMessageDeflate: false });
      t.teardown(() => socket.terminate());
      const chatter = { socket, version: 0, sent: 0, received: 0, published: 0, wrong: '' };
      const send = () => {
        chatter.sent += 1;
        socket.send(String(chatter.sent));
      };
      socket.on('close', () => {
        closed += 1;
      });
      socket.on('message', (data: Buffer) => {
        const [first = '', second, third] = data.toString().split(' ');
        if (first === 'all') {
          chatter.published += 1;
          if (second !== String(chatter.published)) chatter.wrong ||= data.toString();
          return;
        }
        chatter.received += 1;
        chatter.version = Number(first);
        const expected = String(chatter.received);
        if (second !== expected || third !== expected) chatter.wrong ||= data.toString();
        // With a pause, so that the reactors have time to load.
        setTimeout(() => isOver || send(), PAUSE_MS);
      });
      await once(socket, 'open');
      send();
      send(); // one is in flight while the other is handled
      return chatter;
    }),
  );
  let published = 0;
  for (let generation = 2; generation <= RELOADS + 1; generation += 1) {
    writeFileSync(app, appOf(generation));
    server.signal('SIGHUP');
    await server.logLine(
      `generation ${generation}`,
      (line) => line.msg === 'reloaded' && line['generation'] === generation,
    );
    published += 1;
    await (await fetch(`${server.url}/publish?${published}`)).text();
    await until('all speak to the new code', () =>
      chatters.every(({ version }) => version === generation),
    );
  }
  isOver = true;
  await until('all have their responses', () =>
    chatters.every(
      (chatter) => chatter.received === chatter.sent && chatter.published === published,
    ),
  );
  t.equal(closed, 0);
  t.strictSame(
    chatters.map(({ wrong }) => wrong).filter((wrong) => wrong !== ''),
    [],
  );
  t.strictSame(
    server.logs.filter(({ level }) => level >= 50),
    [],
  );
  t.comment(`${chatters.reduce((sum, { received }) => sum + received, 0)} messages`);
});

/** The first message of a socket says what its on_handover and on_reload do. */
const handingOver = (version: number) => `
local results = {
  ['false'] = function() return false end,
  raises = function() error 'on purpose' end,
  waits = function() moonring.sleep(1) end,
  large = function() return ('x'):rep(65537) end,
  uncopied = function() return { print } end,
}
local callbacks = {
  on_message = function(ws, message)
    ws.ctx.mode = ws.ctx.mode or message
    ws:send('${version} ' .. ws.ctx.mode)
  end,
  on_handover = function(ws)
    local result = results[ws.ctx.mode]
    if result then return result() end
    return { mode = ws.ctx.mode }
  end,
}
function on_reload(ws, data)
  ws.ctx.mode = data.mode
  if data.mode == 'reload raises' then error 'on purpose' end
  return data.mode ~= 'nothing' and callbacks or nil
end
function handle(req)
  req:websocket(callbacks)
end
`;

t.test('sockets that are not handed over stay, those that are not taken are closed', async (t) => {
  const app = join(t.testdir(), 'app.lua');
  writeFileSync(app, handingOver(1));
  const server = await startServer(t, { app });
  const open = async (mode: string) => {
    const socket = new WebSocket(server.url.replace('http', 'ws'));
    t.teardown(() => socket.terminate());
    await once(socket, 'open');
    const closed = once(socket, 'close');
    const ask = async () => {
      socket.send(mode);
      return String((await once(socket, 'message'))[0]);
    };
    t.equal(await ask(), `1 ${mode}`);
    return { mode, ask, closed };
  };
  const stay = await Promise.all(['false', 'raises', 'waits', 'large', 'uncopied'].map(open));
  const end = await Promise.all(['reload raises', 'nothing'].map(open));
  const moved = await open('moved');
  writeFileSync(app, handingOver(2));
  server.signal('SIGHUP');
  for (const { mode, closed } of end) t.equal((await closed)[0], 1012, mode);
  t.equal(await moved.ask(), '2 moved');
  for (const { mode, ask } of stay) t.equal(await ask(), `1 ${mode}`);
});
