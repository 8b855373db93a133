import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * A config file with an option that is passed to reactors at start: a reload after a change of it
 * replaces processes, where a change of Lua files alone would not.
 */
export function changingConfig(directory: string): { readonly args: string[]; change(): void } {
  const path = join(directory, 'moonring.json');
  let maxUrl = 4096;
  const change = () => {
    maxUrl++;
    writeFileSync(path, JSON.stringify({ maxUrl }));
  };
  change();
  return { args: ['--config', path], change };
}
