import { readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { withErrorTable } from '../../docs/errors-table.js';

const path = new URL('../../../docs/errors.md', import.meta.url);

t.test('docs/errors.md has the table of errors', async (t) => {
  const rendered = withErrorTable(readFileSync(path, 'utf8'));
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(path, rendered);
  t.equal(readFileSync(path, 'utf8'), rendered, 'UPDATE_DOCS=1 npm run test:unit writes it again');
});

t.test('a page without a place for the table is rejected', async (t) => {
  t.throws(() => withErrorTable('# Errors\n'), { message: /no place/ });
});
