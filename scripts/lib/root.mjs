import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The top of the source tree, wherever the command was started from. */
export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
