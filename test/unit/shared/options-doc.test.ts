import { readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { renderConfigurationDoc } from '../../docs/configuration-page.js';

const path = new URL('../../../docs/configuration.md', import.meta.url);

t.test('docs/configuration.md has the table of options', async (t) => {
  const rendered = renderConfigurationDoc();
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(path, rendered);
  t.equal(readFileSync(path, 'utf8'), rendered, 'UPDATE_DOCS=1 npm run test:unit writes it again');
});
