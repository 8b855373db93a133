/*
 * The pictures of docs/: `moonring top` in a terminal of 100 × 30, and the status page, for a
 * server under load. Needs chromium, wrk and script(1), and a built server.
 *
 *     node scripts/screenshots.mjs
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { root } from './lib/root.mjs';

const SECONDS = 60;
const [COLUMNS, ROWS] = [100, 30];
const COLOURS = { 31: '#ff7b72', 32: '#7ee787', 33: '#ffa657' };
const images = join(root, 'docs/images');
const scratch = mkdtempSync(join(tmpdir(), 'moonring-'));
const children = [];

try {
  mkdirSync(images, { recursive: true });
  await main();
} finally {
  for (const child of children) child.kill();
  rmSync(scratch, { recursive: true });
}

async function main() {
  const app = join(scratch, 'app.lua');
  // Some requests wait, some keep a worker busy, so that there is something to see.
  writeFileSync(
    app,
    `local count = moonring.shared('sessions')
function handle(req, res)
  if req.path == '/report' then
    local rows = {}
    for i = 1, 40000 do rows[i] = ('%d;%x'):format(i, i) end
    return res:body(table.concat(rows, '\\n'):sub(1, 64)):send()
  elseif req.path == '/orders' then
    moonring.sleep(0.02)
    count:set(('%d'):format(math.random(1e5)), 'x', 60)
  end
  res:body('hello\\n'):send()
end
`,
  );
  const socket = join(scratch, 'admin.sock');
  const server = start(process.execPath, [
    ...['dist/master.js', '--port', '0', '--processes', '4', '--threads', '2'],
    ...['--admin', `127.0.0.1:0,${socket}`, '--shared', 'sessions=8m', app],
  ]);
  const ready = JSON.parse(await firstLine(server.stdout));
  const admin = ready.admin.find((url) => url.startsWith('http://'));
  for (const [path, connections] of [
    ['/', 16],
    ['/orders', 48],
    ['/report', 4],
  ]) {
    const times = ['-t1', `-c${connections}`, `-d${2 * SECONDS}s`];
    start('wrk', [...times, `${ready.address}${path}`]);
  }
  const frame = topFrame(socket);
  await photograph(`${admin}/`, join(images, 'status-page.png'), [1240, 900], SECONDS * 1000);
  const page = join(scratch, 'top.html');
  writeFileSync(page, terminalPage(await frame));
  await photograph(
    `file://${page}`,
    join(images, 'top.png'),
    [COLUMNS * 8 + 32, ROWS * 17 + 32],
    1000,
  );
}

function start(command, args, options = {}) {
  const child = spawn(command, args, { cwd: root, stdio: ['pipe', 'pipe', 'inherit'], ...options });
  children.push(child);
  child.stdout.on('data', () => {});
  return child;
}

async function firstLine(stream) {
  let text = '';
  for await (const [chunk] of on(stream)) {
    text += chunk;
    if (text.includes('\n')) return text.slice(0, text.indexOf('\n'));
  }
  throw new Error('the server did not start');
}

async function* on(stream) {
  for (;;) yield once(stream, 'data');
}

/** The last complete frame of `moonring top`. */
async function topFrame(socket) {
  const command = `stty cols ${COLUMNS} rows ${ROWS}; exec node dist/master.js top --admin ${socket}`;
  const env = { ...process.env, SHELL: '/bin/sh', TERM: 'xterm' };
  const terminal = start('script', ['-qefc', command, '/dev/null'], { env });
  let text = '';
  terminal.stdout.setEncoding('utf8').on('data', (chunk) => (text += chunk));
  await delay((SECONDS / 2) * 1000);
  terminal.stdin.write('s');
  await delay((SECONDS / 2) * 1000);
  terminal.stdin.write('q');
  await once(terminal, 'close');
  return text.split('\x1b[H').at(-2);
}

/** The frame as shown by a terminal; it uses few control sequences. */
function terminalPage(frame) {
  const body = frame
    .replaceAll('\x1b[K', '')
    .replaceAll('\r', '')
    .replace(/[&<]/g, (each) => (each === '&' ? '&amp;' : '&lt;'))
    .split('\x1b[')
    .map((part, i) => {
      const [, code = '0', text = part] = i === 0 ? [] : (/^(\d+)m(.*)$/s.exec(part) ?? []);
      return `<span style="${styleOf(code)}">${text}</span>`;
    })
    .join('');
  return `<!doctype html><meta charset="utf-8"><style>body { margin: 16px; background: #0d1117 }
pre { margin: 0; font: 13px/17px 'DejaVu Sans Mono', 'Liberation Mono', monospace; color: #e6edf3 }
</style><pre>${body}</pre>`;
}

function styleOf(code) {
  if (code === '7') return 'background: #e6edf3; color: #0d1117';
  if (code === '1') return 'font-weight: bold';
  if (code === '2') return 'color: #8b949e';
  return code in COLOURS ? `color: ${COLOURS[code]}` : '';
}

/** Over the pipe of the DevTools protocol: JSON messages that end with a NUL. */
async function photograph(url, file, [width, height], waitMs) {
  const browser = spawn(
    'chromium',
    ['--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--remote-debugging-pipe'],
    { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] },
  );
  children.push(browser);
  const [, , , orders, answers] = browser.stdio;
  const waiting = new Map();
  let text = '';
  answers.setEncoding('utf8').on('data', (chunk) => {
    const messages = (text + chunk).split('\0');
    text = messages.pop();
    for (const { id, result, error } of messages.map((message) => JSON.parse(message))) {
      if (error) throw new Error(error.message);
      waiting.get(id)?.(result);
    }
  });
  let last = 0;
  const order = (method, params, sessionId) =>
    new Promise((resolve) => {
      last += 1;
      waiting.set(last, resolve);
      orders.write(`${JSON.stringify({ id: last, method, params, sessionId })}\0`);
    });
  const { targetId } = await order('Target.createTarget', { url, width, height });
  const { sessionId } = await order('Target.attachToTarget', { targetId, flatten: true });
  const metrics = { width, height, deviceScaleFactor: 1, mobile: false };
  await order('Emulation.setDeviceMetricsOverride', metrics, sessionId);
  await delay(waitMs);
  const { data } = await order('Page.captureScreenshot', { format: 'png' }, sessionId);
  writeFileSync(file, Buffer.from(data, 'base64'));
  await order('Browser.close', {});
}
