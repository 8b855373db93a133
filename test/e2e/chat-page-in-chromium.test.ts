import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import WebSocket from 'ws';
import { hasProgram, startServer } from './server.js';
import { until } from './until.js';

const skip = hasProgram('chromium') ? false : 'chromium is not installed';

interface Result {
  readonly targetId: string;
  readonly sessionId: string;
  readonly result: { readonly value: unknown };
  readonly data: string;
}

interface Message {
  readonly id: number;
  readonly result: Result;
  readonly error?: { readonly message: string };
}

type Send = (method: string, params: object, sessionId?: string) => Promise<Result>;

/** A headless browser, controlled over the DevTools protocol. */
async function startChromium(t: Test): Promise<Send> {
  const profile = mkdtempSync(join(tmpdir(), 'moonring-chromium-'));
  const flags = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'];
  const args = [...flags, '--remote-debugging-port=0', `--user-data-dir=${profile}`];
  const child = spawn('chromium', [...args, 'about:blank'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  t.teardown(async () => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    rmSync(profile, { recursive: true, force: true, maxRetries: 20 });
  });
  const url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
      const found = /^DevTools listening on (ws:.*)$/.exec(line)?.[1];
      if (found) resolve(found);
    });
    child.once('exit', (code) => reject(new Error(`chromium ended with ${code}`)));
  });
  const socket = new WebSocket(url, { perMessageDeflate: false });
  await once(socket, 'open');
  const waiting = new Map<number, (message: Message) => void>();
  socket.on('message', (data: Buffer) => {
    const message: Message = JSON.parse(data.toString());
    waiting.get(message.id)?.(message);
  });
  let last = 0;
  return (method, params, sessionId) =>
    new Promise((resolve, reject) => {
      last += 1;
      waiting.set(last, ({ result, error }) => {
        if (error) reject(new Error(`${method}: ${error.message}`));
        else resolve(result);
      });
      socket.send(JSON.stringify({ id: last, method, params, sessionId }));
    });
}

async function openPage(send: Send, url: string) {
  const { targetId } = await send('Target.createTarget', {
    url,
    width: 640,
    height: 480,
    newWindow: true,
  });
  const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: true });
  const evaluate = async (expression: string) => {
    const { result } = await send(
      'Runtime.evaluate',
      { expression, returnByValue: true },
      sessionId,
    );
    return result.value;
  };
  const screenshot = async () => {
    const { data } = await send('Page.captureScreenshot', { format: 'png' }, sessionId);
    return Buffer.from(data, 'base64');
  };
  await until('the page is connected', async () => {
    return (await evaluate("document.getElementById('state')?.textContent")) === 'connected';
  });
  return { evaluate, screenshot };
}

t.test('messages and clicks of one page of the chat reach another', { skip }, async (t) => {
  const server = await startServer(t, { app: 'examples/lua/chat.lua', processes: 2 });
  const send = await startChromium(t);
  const [one, other] = await Promise.all([1, 2].map(() => openPage(send, `${server.url}/#tea`)));
  const say = `(text) => {
    document.forms[0].elements.text.value = text;
    document.forms[0].requestSubmit();
  }`;
  await one?.evaluate(`(${say})('Is the tea ready?')`);
  const heard = "[...document.querySelectorAll('li')].map((line) => line.textContent).join('|')";
  await until(
    'the other hears',
    async () => (await other?.evaluate(heard)) === 'Is the tea ready?',
  );
  await other?.evaluate(`(${say})('It is, <b>come in</b>.')`);
  const both = 'Is the tea ready?|It is, <b>come in</b>.';
  await until('both have heard', async () => (await one?.evaluate(heard)) === both);
  // The stream of clicks may begin later than the socket.
  const dots = "document.querySelectorAll('.click').length";
  await until('the click is seen', async () => {
    await other?.evaluate(`document.body.dispatchEvent(new MouseEvent('click',
      { bubbles: true, clientX: 420, clientY: 330 }))`);
    return Number(await one?.evaluate(dots)) > 0;
  });
  const image = await one?.screenshot();
  t.ok(image && image.length > 1000);
  if (image && process.env.UPDATE_DOCS) writeFileSync('docs/chat.png', image);
});
