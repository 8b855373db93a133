import { errorRows } from '../../src/shared/errors.js';

const BEGIN =
  '<!-- Written from src/shared/errors.ts: change the table there, then run\n' +
  '     UPDATE_DOCS=1 npm run test:unit -->\n';
const END = '<!-- End of what is written from src/shared/errors.ts -->\n';

/** docs/errors.md with the table generated from the code. Throws if it has no place for it. */
export function withErrorTable(page: string): string {
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END);
  if (begin < 0 || end < begin)
    throw new TypeError('the page has no place for the table of errors');
  return `${page.slice(0, begin)}${BEGIN}\n${renderTable()}\n${page.slice(end)}`;
}

function renderTable(): string {
  const rows = errorRows().map(({ code, exitCode, meaning, advice }) => {
    const anchor = code.toLowerCase();
    return `| ${exitCode} | [\`${code}\`](#${anchor}) | ${meaning} | ${advice} |\n`;
  });
  return `| Exit code | Error code | Meaning | What to do |\n|---|---|---|---|\n${rows.join('')}`;
}
