import { check } from 'k6';

/**
 * The response is complete and successful.
 *
 * @param {import('k6/http').Response} response
 */
export function checkAnswer(response) {
  return check(response, {
    'status is 200': (answer) => answer.status === 200,
    'has a body': (answer) => typeof answer.body === 'string' && answer.body.length > 0,
  });
}

/**
 * The response is the request's own body: nothing was mixed up between connections.
 *
 * @param {import('k6/http').Response} response
 * @param {string} sent
 */
export function checkEcho(response, sent) {
  return check(response, {
    'status is 200': (answer) => answer.status === 200,
    'the body comes back': (answer) => answer.body === sent,
  });
}
