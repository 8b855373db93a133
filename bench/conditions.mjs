// How `moonring serve` and Debian's nginx respond to the cases of RFC 9110 §13 (preconditions) and
// §14 (ranges): every condition with every range, with GET and HEAD, for one file. Prints a table
// for docs/static-files.md: each condition and each range alone, then the combinations that differ.
//
//   node bench/conditions.mjs [all]
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readOptions, requirePrograms, runMain } from './lib/command.mjs';
import { startMoonring, startNginx } from './lib/servers.mjs';

const { positionals } = readOptions({});
const showsAll = positionals.includes('all');

/** The file's Last-Modified, and times before and after it. */
const MODIFIED_S = 784_111_777;
const date = (second) => new Date(second * 1000).toUTCString();
const DATES = {
  same: date(MODIFIED_S),
  before: date(MODIFIED_S - 60),
  after: date(MODIFIED_S + 60),
};
const SIZE = 100;

/** The fields of each condition, for a representation with this strong `etag`. */
const CONDITIONS = {
  none: () => ({}),
  'If-Match: same': (etag) => ({ 'If-Match': etag }),
  'If-Match: W/same': (etag) => ({ 'If-Match': `W/${etag}` }),
  'If-Match: other': () => ({ 'If-Match': '"other"' }),
  'If-Match: other, same': (etag) => ({ 'If-Match': `"other", ${etag}` }),
  'If-Match: *': () => ({ 'If-Match': '*' }),
  'If-None-Match: same': (etag) => ({ 'If-None-Match': etag }),
  'If-None-Match: W/same': (etag) => ({ 'If-None-Match': `W/${etag}` }),
  'If-None-Match: other': () => ({ 'If-None-Match': '"other"' }),
  'If-None-Match: other, same': (etag) => ({ 'If-None-Match': `"other", ${etag}` }),
  'If-None-Match: *': () => ({ 'If-None-Match': '*' }),
  'If-Modified-Since: same': () => ({ 'If-Modified-Since': DATES.same }),
  'If-Modified-Since: later': () => ({ 'If-Modified-Since': DATES.after }),
  'If-Modified-Since: earlier': () => ({ 'If-Modified-Since': DATES.before }),
  'If-Modified-Since: nonsense': () => ({ 'If-Modified-Since': 'nonsense' }),
  'If-Unmodified-Since: same': () => ({ 'If-Unmodified-Since': DATES.same }),
  'If-Unmodified-Since: later': () => ({ 'If-Unmodified-Since': DATES.after }),
  'If-Unmodified-Since: earlier': () => ({ 'If-Unmodified-Since': DATES.before }),
  'If-Match: same · If-Unmodified-Since: earlier': (etag) => ({
    'If-Match': etag,
    'If-Unmodified-Since': DATES.before,
  }),
  'If-None-Match: other · If-Modified-Since: same': () => ({
    'If-None-Match': '"other"',
    'If-Modified-Since': DATES.same,
  }),
  'If-None-Match: same · If-Modified-Since: earlier': (etag) => ({
    'If-None-Match': etag,
    'If-Modified-Since': DATES.before,
  }),
  'If-Match: same · If-None-Match: same': (etag) => ({ 'If-Match': etag, 'If-None-Match': etag }),
  'If-Match: other · If-None-Match: same': (etag) => ({
    'If-Match': '"other"',
    'If-None-Match': etag,
  }),
};

const range =
  (value, more = () => ({})) =>
  (etag) => ({ Range: value, ...more(etag) });

const RANGES = {
  none: () => ({}),
  'bytes=0-9': range('bytes=0-9'),
  'bytes=90-200': range('bytes=90-200'),
  'bytes=-10': range('bytes=-10'),
  'bytes=-200': range('bytes=-200'),
  'bytes=-0': range('bytes=-0'),
  'bytes=100-': range('bytes=100-'),
  'bytes=9-0': range('bytes=9-0'),
  'bytes=x': range('bytes=x'),
  'lines=0-9': range('lines=0-9'),
  'bytes=0-9,20-29': range('bytes=0-9,20-29'),
  'bytes=0-9 · If-Range: same': range('bytes=0-9', (etag) => ({ 'If-Range': etag })),
  'bytes=0-9 · If-Range: W/same': range('bytes=0-9', (etag) => ({ 'If-Range': `W/${etag}` })),
  'bytes=0-9 · If-Range: other': range('bytes=0-9', () => ({ 'If-Range': '"other"' })),
  'bytes=0-9 · If-Range: same date': range('bytes=0-9', () => ({ 'If-Range': DATES.same })),
  'bytes=0-9 · If-Range: later date': range('bytes=0-9', () => ({ 'If-Range': DATES.after })),
};

function send({ port }, method, headers) {
  return new Promise((resolve, reject) => {
    const sent = request(
      { port, host: '127.0.0.1', path: '/f.txt', method, headers, agent: false },
      (response) => {
        response.resume().on('end', () => resolve(response));
      },
    );
    sent
      .on('error', (error) =>
        reject(new Error(`${method} ${JSON.stringify(headers)} to port ${port}: ${error.message}`)),
      )
      .end();
  });
}

/** The status, with the part that was sent. */
async function respond(server, etag, method, condition, rangeName) {
  const headers = { ...CONDITIONS[condition](etag), ...RANGES[rangeName](etag) };
  const response = await send(server, method, headers);
  const part = response.headers['content-range'];
  const type = response.headers['content-type'] ?? '';
  if (type.startsWith('multipart/')) return `${response.statusCode} multipart`;
  return response.statusCode === 206 ? `206 ${part}` : String(response.statusCode);
}

await runMain(async () => {
  requirePrograms('nginx');
  const directory = mkdtempSync(join(tmpdir(), 'moonring-conditions-'));
  const root = join(directory, 'root');
  mkdirSync(root);
  writeFileSync(join(root, 'f.txt'), 'x'.repeat(SIZE));
  utimesSync(join(root, 'f.txt'), MODIFIED_S, MODIFIED_S);
  const servers = [];
  try {
    servers.push(await startMoonring(root, { subcommand: ['serve'] }));
    servers.push(await startNginx((port) => `server { listen 127.0.0.1:${port}; root ${root}; }`));
    const etags = [];
    for (const server of servers) etags.push((await send(server, 'HEAD', {})).headers.etag);
    let count = 0;
    const rows = [];
    for (const method of ['GET', 'HEAD'])
      for (const condition of Object.keys(CONDITIONS))
        for (const rangeName of Object.keys(RANGES)) {
          count += 1;
          const [ours, theirs] = await Promise.all(
            servers.map((server, i) => respond(server, etags[i], method, condition, rangeName)),
          );
          rows.push({ method, condition, range: rangeName, ours, theirs });
        }
    const alone = rows.filter(
      (row) => row.method === 'GET' && (row.condition === 'none' || row.range === 'none'),
    );
    const others = rows.filter((row) => !alone.includes(row) && row.ours !== row.theirs);
    console.log('| method | condition | Range | Moonring | nginx |\n|---|---|---|---|---|');
    for (const row of showsAll ? rows : [...alone, ...others]) {
      const { method, condition, range: rangeName, ours, theirs } = row;
      const mark = ours === theirs ? '' : ' **≠**';
      console.log(`| ${method} | ${condition} | ${rangeName} | ${ours} | ${theirs}${mark} |`);
    }
    const differing = rows.filter((row) => row.ours !== row.theirs).length;
    console.log(`\n${count} requests, ${differing} responses differ.`);
  } finally {
    await Promise.all(servers.map((each) => each.stop()));
    rmSync(directory, { recursive: true });
  }
});
