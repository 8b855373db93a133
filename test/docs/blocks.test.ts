import t from 'tap';
import { type Command, commandsOf } from './commands.js';
import { ELSEWHERE, problemWith } from './elsewhere.js';
import { type Block, commandPages, readPage } from './pages.js';

const LANGUAGES = [
  ...['', 'c', 'caddyfile', 'dockerfile', 'ini', 'js', 'json', 'lua', 'nginx', 'sh', 'text'],
  'yaml',
];
const pages = commandPages().map(readPage);

function commands(): Command[] {
  const isShell = ({ language }: Block) => language === 'sh';
  return pages.flatMap(({ blocks }) => blocks.filter(isShell).flatMap(commandsOf));
}

t.test('every code block has an info string', async (t) => {
  for (const { path, blocks, indented } of pages) {
    t.strictSame(indented, [], `${path}: a block by its indent may be anything: fence it`);
    for (const { language, line } of blocks) {
      t.ok(LANGUAGES.includes(language), `${path}:${line}: ${language}`);
    }
  }
});

t.test('blocks that are not run in place are run where the table says', async (t) => {
  const all = commands().map(({ text }) => text);
  t.ok(all.length > 50);
  for (const command of Object.keys(ELSEWHERE)) {
    t.ok(all.includes(command), `a page has "${command}"`);
    t.equal(problemWith(command), null, command);
  }
});
