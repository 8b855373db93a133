/*
 * Checks that the tree keeps the house plan (house/house-plan.mjs): who includes or imports whom,
 * how large things are, which words stay out. Prints a line for each violation, path:line: rule:
 * sentence, and how many rules hold.
 *
 *     node scripts/check-house.mjs [directory]
 */
import { resolve } from 'node:path';

import { nativeRules } from './house/native-rules.mjs';
import { sizeRules } from './house/size-rules.mjs';
import { readTree } from './house/source-files.mjs';
import { typescriptRules } from './house/typescript-rules.mjs';
import { wordRules } from './house/word-rules.mjs';
import { root } from './lib/root.mjs';

const files = readTree(resolve(process.argv[2] ?? root));
const rules = [...nativeRules, ...typescriptRules, ...sizeRules, ...wordRules];

let broken = 0;
for (const { name, check } of rules) {
  const violations = check(files);
  for (const { path, line, sentence } of violations) {
    process.stdout.write(`${path}:${line}: ${name}: ${sentence}\n`);
  }
  if (violations.length > 0) broken += 1;
}
process.stdout.write(`${rules.length - broken} checks passed, ${broken} failed\n`);
process.exitCode = broken > 0 ? 1 : 0;
