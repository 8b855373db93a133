import { readFileSync } from 'node:fs';
import t from 'tap';
import {
  commandsUnder,
  portOf,
  promisedStatus,
  readWalk,
  withPorts,
} from '../../../scripts/newcomer/readme-commands.mjs';

const PAGE = `# A page

    not in a section

## Try it

    npm start        # everything
    npm test

Then

\`\`\`sh
curl -i localhost:8080/x \\
  -d y             # 404, always
\`\`\`

\`\`\`lua
    no = 'command'
\`\`\`

## Write a handler

    node a.js --port 8081 b.lua
    node a.js --help

## More

    rm -r x
`;

t.test('README itself can be followed', async (t) => {
  const walk = readWalk(readFileSync(new URL('../../../README.md', import.meta.url), 'utf8'));
  t.equal(walk.start, 'npm start');
  t.ok(walk.requests.length > 0 && walk.servers.length > 0);
});

t.test('the typed lines of one section, without their comments', async (t) => {
  t.strictSame(commandsUnder(PAGE, 'Try it'), [
    { line: 'npm start', comment: 'everything' },
    { line: 'npm test', comment: '' },
    { line: 'curl -i localhost:8080/x -d y', comment: '404, always' },
  ]);
});

t.test('servers are told from what ends by itself', async (t) => {
  const { servers, others, requests } = readWalk(PAGE);
  t.strictSame(
    [servers.map(({ line }) => portOf(line)), others[0]?.line],
    [[8081], 'node a.js --help'],
  );
  t.strictSame(requests.map(promisedStatus), [404]);
});

t.test('a section or a command that is gone is said', async (t) => {
  t.throws(() => commandsUnder(PAGE, 'Nowhere'), { message: 'no commands under "Nowhere"' });
  t.throws(() => readWalk(PAGE.replace('npm start', 'npm run start')), { message: 'npm start' });
  t.throws(() => readWalk(PAGE.replace(/curl/, 'wget')), { message: 'no requests' });
});

t.test('ports are put in the place of those that are named, and of no other number', async (t) => {
  const ports = { 8080: 40001, 8081: 40002 };
  t.equal(withPorts('curl localhost:8080/8081', ports), 'curl localhost:40001/8081');
  t.equal(
    withPorts('node x --port 8081 --processes 2', ports),
    'node x --port 40002 --processes 2',
  );
});
