import http from 'k6/http';

import { baseUrl } from './settings.js';

const timeout = '10s';

/**
 * One GET. `route` is the tag by which thresholds and reports distinguish requests.
 *
 * @param {string} path
 * @param {string} [route]
 * @param {string} [base] a server other than BASE_URL
 */
export function get(path, route = path, base = baseUrl) {
  return http.asyncRequest('GET', base + path, null, { timeout, tags: { name: route, route } });
}

/**
 * One POST.
 *
 * @param {string} path
 * @param {string} body
 */
export function post(path, body) {
  const headers = { 'Content-Type': 'text/plain' };
  return http.asyncRequest('POST', baseUrl + path, body, {
    timeout,
    headers,
    tags: { name: path, route: path },
  });
}
