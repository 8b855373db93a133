/*
 * A rollout as seen by a load balancer: two servers, each stopped in turn (by scripts/load.mjs)
 * while the other serves. Readiness is checked once a second and unready servers get no new
 * requests, so no request may be lost.
 */
import { check } from 'k6';
import http from 'k6/http';

import { checkAnswer } from './lib/checks.js';
import { constantRate, throughStalls } from './lib/executors.js';
import { baseUrl, number } from './lib/settings.js';
import { summary, summaryTrendStats } from './lib/summary.js';
import { get } from './lib/target.js';
import { withoutLoss } from './lib/thresholds.js';

const askEveryMs = 1000;
const { http_req_failed: noneFailed, ...others } = withoutLoss();

export const options = {
  scenarios: {
    drain: constantRate(number('RATE', 300), number('DURATION', 60), {}, throughStalls),
  },
  // Readiness checks are expected to fail: only the other requests count.
  thresholds: { ...others, 'http_req_failed{route:/}': noneFailed },
  summaryTrendStats,
};

// A single server, replaced by someone else, is ready if it responds.
const servers = (__ENV.TARGETS || `${baseUrl},${baseUrl}/`).split(' ').map((pair) => {
  const [base, readiness] = pair.split(',');
  return { base, readiness, ready: false, asked: Promise.resolve(), askedAtMs: 0 };
});
let turn = 0;

export default async function () {
  await Promise.all(servers.map(askIfDue));
  const ready = servers.filter((server) => server.ready);
  if (!check(ready, { 'a server is ready': ({ length }) => length > 0 })) return;
  turn += 1;
  checkAnswer(await get('/', '/', ready[turn % ready.length].base));
}

function askIfDue(server) {
  const now = Date.now();
  if (now - server.askedAtMs >= askEveryMs) {
    server.askedAtMs = now;
    server.asked = ask(server);
  }
  return server.asked;
}

async function ask(server) {
  const answer = await http.asyncRequest('GET', server.readiness, null, {
    timeout: '2s',
    // Each virtual user checks for itself, and the admin listener allows few connections.
    headers: { Connection: 'close' },
    tags: { name: 'readiness', route: 'readiness' },
  });
  server.ready = answer.status === 200;
}

export const handleSummary = summary('drain', options);
