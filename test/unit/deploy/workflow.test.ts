import { existsSync, readFileSync } from 'node:fs';
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
  for (const job of ['linux', 'cross', 'newcomer', 'container', 'macos']) {
    const steps: Step[] = jobs[job].steps;
    const command = steps.find(({ run }) => run?.startsWith('npm test'))?.run ?? '';
    t.match(command, /^npm test( -- [a-z0-9 -]+)?$/, job);
    for (const name of command.split(' ').slice(3)) t.ok(names.includes(name), name);
  }
});

t.test('what the workflow runs with node is a file of ours', async (t) => {
  const steps: Step[] = Object.values<{ steps: Step[] }>(jobs).flatMap((job) => job.steps);
  const scripts = steps.flatMap(({ run }) => /^node (\S+)$/.exec(run ?? '')?.[1] ?? []);
  t.not(scripts.length, 0);
  for (const path of scripts) t.ok(existsSync(new URL(`../../../${path}`, import.meta.url)), path);
});
