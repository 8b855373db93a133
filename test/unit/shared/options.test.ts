import t from 'tap';
import type { OptionSpec } from '../../../src/shared/option-spec.js';
import { defaultOf } from '../../../src/shared/option-values.js';
import { envNamesOf, flagOf, keyOf, OPTIONS, settings } from '../../../src/shared/options.js';

const specs: readonly OptionSpec[] = OPTIONS;

t.test('names are unique everywhere', async (t) => {
  for (const namesOf of [
    (spec: OptionSpec) => [flagOf(spec)],
    (spec: OptionSpec) => [keyOf(spec)],
    (spec: OptionSpec) => (spec.short === undefined ? [] : [spec.short]),
    envNamesOf,
  ]) {
    const names = specs.flatMap(namesOf);
    t.equal(new Set(names).size, names.length, names.join(' '));
  }
});

t.test('every default is valid by its own rules', async (t) => {
  for (const spec of settings()) t.doesNotThrow(() => defaultOf(spec), keyOf(spec));
});
