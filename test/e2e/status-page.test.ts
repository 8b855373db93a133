import { spawn } from 'node:child_process';
import { once } from 'node:events';
import t from 'tap';
import { hasProgram, startServer } from './server.js';

const args = ['--dispatch', 'worker', '--threads', '3', '--shared', 'sessions=1m'];

t.test('a browser shows the status from the admin listener alone', async (t) => {
  const server = await startServer(t, { app: 'dispatch.lua', processes: 2, args });
  const page = await fetch(`${server.admin}/`);
  t.match(await page.text(), /<title>Moonring<\/title>/);
  t.match(page.headers.get('content-security-policy'), /^default-src 'none'; script-src 'self';/);

  for (const path of ['/package.json', '/web/status.js', '/constructor', '/..%2fpackage.json']) {
    t.equal((await fetch(server.admin + path)).status, 404, path);
  }
  const script = await fetch(`${server.admin}/figures.js`);
  t.equal(script.headers.get('content-type'), 'text/javascript; charset=utf-8');
  if (!hasProgram('chromium')) return t.comment('no chromium');

  // One second each: every thread is always busy.
  const stop = new AbortController();
  const { signal } = stop;
  const clients = Array.from({ length: 8 }, async () => {
    while (!signal.aborted) await fetch(`${server.url}/wait`, { signal }).catch(() => {});
  });
  const { dom, errors } = await visit(`${server.admin}/`);
  stop.abort();
  await Promise.all(clients);

  t.notMatch(errors, /CONSOLE|Refused to/, 'no error, and nothing that the policy forbids');
  t.match(dom, /<strong id="ready" class="yes">ready<\/strong>/);
  const rows = [...dom.matchAll(/<td class="text good">ready<\/td><td>(\d+)<\/td>/g)];
  t.same(rows.map(([, pid]) => Number(pid)).sort(), server.reactorPids().sort());
  t.match(dom, /<polyline points="\d+,\d+ \d+,\d+/, 'more than one point');
  t.match(dom, /<td class="text">worker \d<\/td>.*<td class="text wide">GET \/wait<\/td>/);
  t.match(dom, /<td class="text">sessions<\/td>/);
  t.match(dom, /<section id="topics-section">/);
  t.match(
    dom,
    /<td class="text">master<\/td><td>0<\/td>.*<td class="text">reactor-1<\/td><td>0<\/td>/,
  );
  t.match(dom, /<p id="problem" role="alert" hidden="">/);
});

/** The page after some seconds of its clock, and the output of the browser. */
async function visit(url: string) {
  const browser = spawn('chromium', [
    ...['--headless', '--no-sandbox', '--disable-gpu', '--enable-logging=stderr'],
    ...['--virtual-time-budget=4000', '--dump-dom', url],
  ]);
  let [dom, errors] = ['', ''];
  browser.stdout.setEncoding('utf8').on('data', (chunk: string) => (dom += chunk));
  browser.stderr.setEncoding('utf8').on('data', (chunk: string) => (errors += chunk));
  const [code] = await once(browser, 'close');
  t.equal(code, 0, errors);
  return { dom, errors };
}
