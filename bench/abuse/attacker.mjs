// A process that attacks: started by attack.mjs with what to do, on 127.0.0.1 only.
//
// It says { type: 'ready' } when the attack is on, waits for { type: 'end' } if it goes on until
// told otherwise, and says { type: 'done', ...figures } at its end.
import { once } from 'node:events';
import { dripHeaders } from './drip-headers.mjs';
import { holdHalfRequests } from './hold-half-requests.mjs';
import { resetEverywhere } from './reset-everywhere.mjs';
import { sendGarbage } from './send-garbage.mjs';

const attacks = { dripHeaders, sendGarbage, holdHalfRequests, resetEverywhere };

const [{ attack, ...options }] = await once(process, 'message');
const ended = new Promise((resolve) => {
  process.on('message', ({ type }) => {
    if (type === 'end') resolve();
  });
});
// Without its parent an attacker has no business.
process.on('disconnect', () => process.exit(1));
const figures = await attacks[attack]({
  ...options,
  ready: () => process.send({ type: 'ready' }),
  ended,
});
process.send({ type: 'done', ...figures }, () => process.exit(0));
