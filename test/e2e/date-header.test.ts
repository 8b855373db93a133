import t from 'tap';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';
import { until } from './until.js';

const IMF_FIXDATE = /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/;

const server = await startServer(t);

t.test('every response carries the current date', async (t) => {
  const client = await connectRaw(t, server);
  for (const target of ['/', '/nothing']) {
    const beforeMs = Date.now();
    const date = (await client.request(requestText(target))).headers.get('date') ?? '';
    const afterMs = Date.now();
    t.match(date, IMF_FIXDATE);
    t.equal(new Date(date).toUTCString(), date, 'names and numbers are those of a real day');
    // Truncated to seconds, and may be as old as the last time it was formatted.
    t.ok(Date.parse(date) > beforeMs - 2000, `${date} is not old`);
    t.ok(Date.parse(date) <= afterMs, `${date} is not in the future`);
  }
});

t.test('the date advances on a connection that stays open', async (t) => {
  const client = await connectRaw(t, server);
  const dateNow = async () => (await client.request(requestText('/'))).headers.get('date');
  const first = await dateNow();
  const second = await until('another date', async () => {
    const date = await dateNow();
    return date !== first && date;
  });
  t.ok(Date.parse(String(second)) > Date.parse(String(first)));
});
