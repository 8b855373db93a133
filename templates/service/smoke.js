/*
 * k6 run smoke.js: a few clients for ten seconds. Every response must be correct, and 99 of 100
 * must arrive within 250 ms. BASE_URL names a server other than the one on this machine.
 */
import { check } from 'k6';
import http from 'k6/http';

const base = __ENV.BASE_URL || 'http://127.0.0.1:8080';
const json = { headers: { 'Content-Type': 'application/json' } };

export const options = {
  scenarios: {
    smoke: { executor: 'constant-vus', vus: 4, duration: __ENV.DURATION || '10s' },
  },
  thresholds: {
    checks: ['rate==1'],
    http_req_failed: ['rate==0'],
    http_req_duration: ['p(99)<250'],
  },
};

export default async function () {
  const number = Math.floor(Math.random() * 1000);
  const greeting = await http.asyncRequest('GET', `${base}/hello/${number}`);
  check(greeting, {
    'greets by name': ({ status, body }) => status === 200 && body.includes(`, ${number}"`),
  });
  const body = JSON.stringify({ numbers: [number, 1] });
  const sum = await http.asyncRequest('POST', `${base}/sums`, body, json);
  check(sum, {
    'adds up': (response) =>
      response.status === 201 && JSON.parse(response.body).total === number + 1,
  });
}
