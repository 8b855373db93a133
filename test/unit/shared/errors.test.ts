import t from 'tap';
import { errorRows, exitCodeOf, MoonringError, messageOf } from '../../../src/shared/errors.js';

t.test('no failure ends with exit code 0', async (t) => {
  for (const { code, exitCode } of errorRows()) {
    t.equal(exitCodeOf(code), exitCode);
    t.ok(exitCode > 0 && exitCode < 128, code);
  }
});

t.test('an error has a code, a message and a cause', async (t) => {
  const cause = new Error('deeper');
  const error = new MoonringError('ERR_MOONRING_LISTEN', 'no', { cause });
  t.match(error, { name: 'MoonringError', code: 'ERR_MOONRING_LISTEN', message: 'no', cause });
  t.ok(error instanceof Error);
});

t.test('every thrown value has a message', async (t) => {
  t.equal(messageOf(new Error('a')), 'a');
  t.equal(messageOf('b'), 'b');
  t.equal(messageOf(undefined), 'undefined');
});
