import t from 'tap';
import { requireNode } from '../../../scripts/lib/node-version.mjs';
import { buildNeeds } from '../../../scripts/lib/system-needs.mjs';
import { rootNeeded } from '../../../scripts/lib/system-packages.mjs';

const shownCommands = (message: string) =>
  message.split('\n').filter((line) => /^ {2}\S/.test(line));

t.test('the message about an old Node names the version', async (t) => {
  t.throws(() => requireNode('18.20.4'), { message: /^Node 20 or newer .* this is 18\.20\.4/ });
  t.doesNotThrow(() => requireNode('20.0.0'));
  t.doesNotThrow(() => requireNode());
});

t.test('a user without root gets a single command, which asks no questions', async (t) => {
  const message = rootNeeded(buildNeeds, { release: 13 });
  const [command = '', ...more] = shownCommands(message);
  t.equal(more.length, 0);
  t.match(command, /apt-get update && (sudo )?apt-get install -y --no-install-recommends gcc /);
  t.match(command, / libluajit-5\.1-dev /);
});

t.test('on Debian 12 it is a script, because llhttp needs an apt source and a pin', async (t) => {
  const message = rootNeeded(buildNeeds, { release: 12 });
  const [command = '', ...more] = shownCommands(message);
  t.equal(more.length, 0);
  t.match(command, /scripts\/install-system-packages\.mjs$/);
  t.match(message, 'a pin that hides everything else');
});
