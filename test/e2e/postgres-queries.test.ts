import { once } from 'node:events';
import { createConnection, createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { makeCertificate } from './certificate.js';
import { listenLocally } from './listening.js';
import {
  bouncerProgram,
  postgresPrograms,
  startBouncer,
  startPostgres,
} from './postgres-server.js';
import { requestText } from './raw-client.js';
import { resetConnection } from './reset-connection.js';
import { type Server, startServer } from './server.js';
import { until } from './until.js';

/*
 * moonring.postgres with a real server: directly, from worker threads, and through pgbouncer,
 * which passes a server connection on to another client after each transaction.
 */

const skip = postgresPrograms ? false : 'PostgreSQL is not installed';

async function start(t: Test, url: string, dispatch: string) {
  const server: Server = await startServer(t, {
    app: 'postgres.lua',
    args: ['--dispatch', dispatch, '--threads', '1'],
    env: { MOONRING_TEST_DB: url },
  });
  const ask = async (target: string): Promise<unknown> => {
    const response = await fetch(`${server.url}/${target}`);
    const text = await response.text();
    if (response.status === 200) return JSON.parse(text);
    throw new Error(`${target}: ${response.status}\n${JSON.stringify(server.logs.at(-1))}`);
  };
  return { server, ask };
}

const types = {
  int2: 1,
  int4: -2,
  big: '9007199254740993',
  int8: 42,
  float8: 1.5,
  float4: 0.1,
  yes: true,
  text: 'tëxt',
  jsonb: { a: [1, null] },
  numeric: '1.10',
  list: [1, 2, null],
  texts: ['a', 'b"c\\d'],
  square: [
    [1, 2],
    [3, 4],
  ],
  empty: [],
  time: '2026-01-02 03:04:05.678',
  date: '2026-01-02',
  uuid: '6ba7b810-9dad-11d1-80b4-00c04fd430c8',
  hex: '00ff',
  span: '1 day 02:00:00',
};

const parameters = {
  a: 5,
  b: "x'y",
  c: true,
  d: { k: [1, 2] },
  e: [1, null, 3],
  f: true,
  g: 0.1,
  h: ['a"b', 'c\\d', '', 'NULL'],
  j: '9223372036854775807',
};

const errors = [
  'nil division_by_zero',
  'nil syntax_error',
  'nil invalid_text_representation',
  'nil',
  'nil syntax_error',
  'nil copy',
  'nil copy',
  'nil copy',
  'unique_violation t_v_key Key (v)=(one) already exists. 23505',
  /postgres\.lua:\d+: postgres: the statement takes 1 parameter, not 0$/,
  /postgres\.lua:\d+: postgres: parameter 1: a table, and neither json nor an array of a known type/,
  /postgres\.lua:\d+: db:query takes SQL without NUL, not a string with one$/,
  /a pool of postgres has no member "qery": did you mean "query"\?$/,
  '{"five":5}',
  'INSERT 2 v [{"v":"one"},{"v":"two"}]',
  '0 0',
];

const transactions = [
  'inner nil unique_violation',
  'inner fine 5',
  '[{"v":"inner"},{"v":"kept"}]',
  'raised false boom',
  'returned nil no',
  'ignored nil unique_violation',
  'asserted nil unique_violation',
  /: this transaction is over$/,
  'read only nil read_only_sql_transaction',
  /its function has ended the transaction itself/,
  'db:transaction: options are a table, not a number',
  'db:transaction: retries is a number, 0 or more, not x',
  '[{"v":"inner"},{"v":"kept"}]',
  '1 1 0',
];

const pipeline = [
  '[[{"a":1}],[{"a":2}],[],[{"v":"p1"}]]',
  '[[{"a":1}],[{"a":2}],[],[{"v":"p1"},{"v":"p2"}]]',
  'division_by_zero 2',
  'syntax_error 2',
  '8080200',
  '[{"v":"p1"},{"v":"p2"}]',
];

const copy = [
  '2 nil',
  '2 nil',
  '1000 nil',
  'false boom',
  'nil unique_violation',
  'nil copy',
  'nil copy',
  '1004 1012905',
  'false division_by_zero',
  '2 {"a":1}',
  'this transaction is in use: by another task, or by a tx:copy_out that was not read to its end',
];

const listen = [
  'jobs: first',
  'Two "words": second',
  'nil timeout',
  'listener:next takes seconds, 0 or more, not x',
  '{"is_reconnected":true}',
  'third',
  'nil closed',
];

const limits = ['10', 'result too large', '1', 'too long', 'result too large', '1', 'nil closed'];

const stale = [
  '[{"a":1}]',
  '[{"a":1,"b":"new"}]',
  '[{"a":"1","b":"new"}]',
  '[{"a":"1","b":"new"}]',
  'true',
];

t.test('postgres', { skip, timeout: 300_000 }, async (t) => {
  const tls = makeCertificate(t);
  const postgres = await startPostgres(t, { tls: { key: tls.key, cert: tls.cert } });
  const bouncer = bouncerProgram ? await startBouncer(t, postgres) : undefined;
  /** How many connections with this application name the server has in such a state. */
  const connections = (name: string, states = '%') =>
    postgres.psql(
      `select count(*) from pg_stat_activity where application_name = '${name}' and state like '${states}'`,
    );

  const ways = [
    { name: 'from a reactor', url: postgres.url(), dispatch: 'inline' },
    { name: 'from a worker, over TCP', url: postgres.url({ tcp: true }), dispatch: 'worker' },
    { name: 'by pgbouncer', url: bouncer?.url ?? '', dispatch: 'inline' },
  ];
  for (const { name, url, dispatch } of ways) {
    if (url === '') continue;
    await t.test(`all kinds of queries, ${name}`, async (t) => {
      const { ask } = await start(t, `${url}&sslmode=disable`, dispatch);
      t.match(await ask('types'), [types]);
      t.same(await ask('parameters'), parameters);
      t.same(await ask('parameters'), parameters, 'by a statement that is prepared');
      await ask('setup');
      t.match(await ask('errors'), errors);
      t.match(await ask('transactions'), transactions);
      await ask('setup');
      t.same(await ask('retries'), ['a', 'b', true, 8]);
      await ask('setup');
      t.same(await ask('pipeline'), pipeline);
      await ask('setup');
      t.same(await ask('copy'), copy);
      t.same(await ask('limits'), limits);
      t.same(await ask('stale'), stale);
      if (name !== 'by pgbouncer') t.same(await ask('listen'), listen);
      t.same(await ask('timeout'), ['nil timeout', '{"a":1}', 'nil closed']);
      t.same(await ask('cancelled'), ['nil', 'timeout']);
      t.same(await ask('full'), ['ok', 'nil pool timeout', 'nil pool queue full', '1 1 0']);
      t.same(await ask('closing'), ['ok', 'closed', '0']);
      t.equal(await ask('leave'), '1\n');
      await until('none is in use', async () => {
        const { open, idle } = (await ask('stats')) as { open: number; idle: number };
        return open === idle;
      });
      await until(
        'nothing is executed any more',
        async () =>
          (await connections('moonring', 'active')) === '0' &&
          (await connections('moonring', 'idle in%')) === '0',
      );
    });
  }

  await t.test('a client that disconnects cancels its query, and its transaction', async (t) => {
    const url = postgres.url({ query: 'application_name=left' });
    const { server, ask } = await start(t, url, 'inline');
    for (const [target, state] of [
      ['sleep', 'active'],
      ['open', 'idle in%'],
    ] as const) {
      const client = createConnection({ host: server.host, port: server.port });
      client.on('error', () => undefined);
      client.write(requestText(`/${target}`));
      await until('it has begun', async () => (await connections('left', state)) === '1');
      resetConnection(client);
      await until('its connection is gone', async () => (await connections('left')) === '0');
      t.same(await ask('stats'), { size: 10, open: 0, idle: 0, waiting: 0 });
    }
  });

  await t.test('a reload closes the connections of the previous version', async (t) => {
    const url = postgres.url({ query: 'application_name=before' });
    const { server, ask } = await start(t, url, 'inline');
    await ask('types');
    t.equal(await connections('before'), '1');
    server.signal('SIGHUP');
    await server.logLine('the reload', (line) => line.msg === 'reloaded');
    await until('they are closed', async () => (await connections('before')) === '0');
    t.match(await ask('types'), [types]);
  });

  await t.test('logins, and TLS', async (t) => {
    const { ask } = await start(t, postgres.url(), 'inline');
    const login = (user: string, query: string) =>
      ask(`login?${postgres.url({ user, tcp: true, query })}`);
    t.same(await login('app', 'sslmode=disable'), ['app', false]);
    t.same(await login('md5_user', 'sslmode=disable'), ['md5_user', false]);
    t.match(await login('clear_user', 'sslmode=disable'), ['authentication', /in the clear/]);
    t.same(await login('clear_user', 'allow_cleartext=true'), ['clear_user', false]);
    t.same(await login('app', 'sslmode=require'), ['app', true]);
    t.same(await login('clear_user', 'sslmode=prefer'), ['clear_user', true]);
    const trusted = `sslmode=verify-full&sslrootcert=${tls.cert}`;
    t.same(await login('app', `${trusted}&sni=localhost`), ['app', true]);
    t.match(await login('app', trusted), ['certificate', /mismatch/]);
    t.match(await login('app', 'sslmode=verify-full'), ['certificate', /self.signed/]);
    t.match(await login('nobody', ''), ['invalid_password', /nobody/]);
    t.match(await ask('login?postgres://app:wrong@/app?host=/nowhere'), ['refused']);
  });
});

/** After its length. */
const CANCEL_REQUEST = 80877102;
// Login accepted, a key, ready.
const GREETING = Buffer.from(
  '520000000800000000' + '4b0000000c0000000100000002' + '5a0000000549',
  'hex',
);

t.test('the server closes the connection of a cancel request', { timeout: 300_000 }, async (t) => {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', (first: Buffer) => {
      if (first.readUInt32BE(4) === CANCEL_REQUEST) server.emit('cancel', socket);
      else {
        socket.write(GREETING);
        socket.resume().on('end', () => server.emit('given up'));
      }
    });
  });
  t.teardown(() => server.close());
  const port = await listenLocally(server);
  const url = `postgres://app@127.0.0.1:${port}/app?sslmode=disable&timeout=0.1`;
  const { ask } = await start(t, url, 'inline');
  const cancel = once(server, 'cancel');
  const givenUp = once(server, 'given up');
  t.same(await ask('echo?1'), ['timeout']);
  const [socket] = (await cancel) as [Socket];
  let isGivenUp = false;
  socket.resume().on('end', () => {
    isGivenUp = true;
  });
  // pgbouncer exits if a client closes it before the server has read the request.
  await givenUp;
  t.match(await ask('stats'), { open: 0 }, 'the place is free meanwhile');
  t.notOk(isGivenUp, 'it is open when that of the query is not any more');
  socket.end();
  await until('it is closed', () => isGivenUp);
});
