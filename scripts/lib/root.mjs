import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The root of the source tree, wherever the command was started. */
export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** True in a clone; false in an installed package, which has dist/ and no src/. */
export const isClone = existsSync(join(root, 'src'));
