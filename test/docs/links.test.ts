import { dirname, join, normalize } from 'node:path';
import t from 'tap';
import { type Link, type Page, readPage, trackedFiles } from './pages.js';

const files = trackedFiles();
const pages = new Map(
  files.filter((path) => path.endsWith('.md')).map((path) => [path, readPage(path)]),
);

/** The problem of a link, `null` if it has none. */
function problemWith(page: Page, { target }: Link): string | null {
  if (/^[a-z]+:/.test(target)) {
    return URL.canParse(target) && /^https?:/.test(target) ? null : 'is not the address of a page';
  }
  const [path = '', anchor] = target.split('#');
  const file = path === '' ? page.path : normalize(join(dirname(page.path), path));
  const isThere = files.some((each) => each === file || each.startsWith(`${file}/`));
  if (!isThere) return `there is no ${file}`;
  if (anchor === undefined) return null;
  return pages.get(file)?.anchors.has(anchor) ? null : `${file} has no heading for #${anchor}`;
}

t.test('every link leads to a file of the repository, and to a heading in it', async (t) => {
  let links = 0;
  for (const page of pages.values()) {
    for (const link of page.links) {
      links += 1;
      t.equal(problemWith(page, link), null, `${page.path}:${link.line}: ${link.target}`);
    }
  }
  t.ok(links > 30);
});

t.test('every page of docs/ is in its index', async (t) => {
  const index = pages.get('docs/README.md');
  for (const path of pages.keys()) {
    const name = /^docs\/(?!README)(.*)$/.exec(path)?.[1];
    if (name !== undefined)
      t.ok(
        index?.links.some(({ target }) => target === name),
        name,
      );
  }
});
