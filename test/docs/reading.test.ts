import t from 'tap';
import { claimedExit, claimedStatus, commandsOf } from './commands.js';
import { problemWith } from './elsewhere.js';
import { isExpected } from './expected-output.js';
import { parsePage } from './pages.js';

/* Tests of the page readers themselves: whatever they miss, no other test would check. */

const PAGE = `# A title, with \`code\`
[one](other.md#part) and \`[no](link)\`

## Part
## Part

\`\`\`sh
first --flag   # 404: a claim
second \\
  --more       # exits 2
cat > x <<'EOF'
# inside
EOF
\`\`\`

    an indent
`;

t.test('a page has its blocks, links, anchors and indents', async (t) => {
  const page = parsePage('page.md', PAGE);
  t.strictSame([...page.anchors], ['a-title-with-code', 'part', 'part-1']);
  t.strictSame(page.links, [{ target: 'other.md#part', line: 2 }]);
  t.match(page.blocks, [{ language: 'sh', file: '', line: 8 }]);
  t.strictSame(page.indented, [16]);
  t.throws(() => parsePage('page.md', '```sh\nls\n'), /does not end/);
});

t.test('a block has its commands, with the results promised in comments', async (t) => {
  const [block] = parsePage('page.md', PAGE).blocks;
  if (block === undefined) throw new Error('no block');
  const commands = commandsOf(block);
  t.match(commands, [
    { text: 'first --flag', claim: '404: a claim', line: 8 },
    { text: 'second \\\n  --more', line: 9 },
    { text: "cat > x <<'EOF'\n# inside\nEOF", line: 11 },
  ]);
  t.strictSame(commands.map(claimedStatus), [404, null, null]);
  t.strictSame(commands.map(claimedExit), [0, 2, 0]);
});

t.test('an output matches itself, except for parts that differ from run to run', async (t) => {
  const shown = 'before\n[10:00:01.5] INFO (98765): ready at localhost:8080 {"n":2}\nafter\n';
  t.ok(isExpected(shown, '[09:41:07.312] INFO (12345): ready at localhost:9999 {"n":2}'));
  t.ok(isExpected(shown, 'before\n…\nafter'));
  t.ok(isExpected(shown, '[9:41:07.3] INFO (1234): …'));
  t.notOk(isExpected(shown, '[09:41:07.312] INFO (12345): ready at localhost:9999 {"n":3}'));
  t.notOk(isExpected(shown, 'before\nafter'), 'lines are left out with an ellipsis only');
  t.notOk(isExpected(shown, 'INFO (12345): …'), 'a line is a whole line');
  const dead = '[09:41:07.312] ERROR (12345): dead\n';
  const up = '[09:41:07.312] INFO (12345): up\n';
  const moved = '[09:41:07.312] WARN (12347): moved\n';
  const block = `${moved}…\n${dead}…\n${up}`;
  t.ok(isExpected(`${dead}other\n${moved}${up}`, block), 'two processes write when they can');
  t.notOk(isExpected(up + dead + moved, block), 'but one in its order');
  t.notOk(isExpected(dead + up, block), 'and nothing is missing');
});

t.test('an npm command that does not exist is found', async (t) => {
  t.equal(problemWith('npm run nothing'), 'package.json has no script "nothing"');
  t.equal(problemWith('npm test -- nothing'), 'there is no suite nothing');
  t.equal(problemWith('npm test -- unit'), null);
  t.equal(problemWith('npm pack'), null);
});
