import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The top of the source tree, wherever the command was started from. */
export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** True in a clone; false where npm has unpacked the package, which brings dist/ and no src/. */
export const isClone = existsSync(join(root, 'src'));
