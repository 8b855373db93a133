import { readFileSync } from 'node:fs';
import t from 'tap';
import {
  commandsUnder,
  portOf,
  promisedStatus,
  readWalk,
  startsServer,
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

\`\`\`sh
cat > b.lua <<'EOF'
-- c   # d
  e()
EOF
node dist/master.js --port 8081 b.lua
\`\`\`

    node dist/master.js --help

## More

    rm -r x
`;

t.test('README itself can be followed', async (t) => {
  const walk = readWalk(readFileSync(new URL('../../../README.md', import.meta.url), 'utf8'));
  t.equal(walk.start, 'npm start');
  t.ok(walk.requests.length > 0 && walk.handler.some(startsServer));
});

t.test('the typed lines of one section, without their comments', async (t) => {
  t.strictSame(commandsUnder(PAGE, 'Try it'), [
    { line: 'npm start', comment: 'everything' },
    { line: 'npm test', comment: '' },
    { line: 'curl -i localhost:8080/x -d y', comment: '404, always' },
  ]);
});

t.test('servers are told from what ends by itself, and the order is kept', async (t) => {
  const { handler, requests } = readWalk(PAGE);
  t.strictSame(handler.map(startsServer), [false, true, false]);
  t.strictSame(requests.map(promisedStatus), [404]);
  t.equal(portOf('node dist/master.js --port 8081 b.lua'), 8081);
  t.equal(portOf('node dist/master.js b.lua'), 8080);
});

t.test('a here-document is one command, comments and all', async (t) => {
  const [{ line } = { line: '' }] = readWalk(PAGE).handler;
  t.equal(line, "cat > b.lua <<'EOF'\n-- c   # d\n  e()\nEOF");
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
