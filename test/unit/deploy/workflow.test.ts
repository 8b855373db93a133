import { readFileSync } from 'node:fs';
import t from 'tap';
import { parse } from 'yaml';
import { suites } from '../../../scripts/suites.mjs';

const file = new URL('../../../.github/workflows/ci.yml', import.meta.url);
const { jobs } = parse(readFileSync(file, 'utf8'));

interface Step {
  readonly run?: string;
}

t.test('the workflow calls npm test, with suites that exist', async (t) => {
  const names = suites.map(({ name }: { readonly name: string }) => name);
  for (const job of ['linux', 'cross', 'macos']) {
    const steps: Step[] = jobs[job].steps;
    const command = steps.find(({ run }) => run?.startsWith('npm test'))?.run ?? '';
    t.match(command, /^npm test( -- [a-z0-9 -]+)?$/, job);
    for (const name of command.split(' ').slice(3)) t.ok(names.includes(name), name);
  }
});
