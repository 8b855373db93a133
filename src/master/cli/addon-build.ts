import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { MoonringError, messageOf } from '../../shared/errors.js';

/**
 * `moonring build`: has the package's own script install what the addon needs and build it, and
 * resolves when it is there. The script says on standard error what it does and what is in its way;
 * then this rejects with ERR_MOONRING_ADDON.
 */
export function buildAddon(packageRoot: string): Promise<void> {
  const script = join(packageRoot, 'scripts', 'build-addon.mjs');
  return new Promise((resolve, reject) => {
    const fail = (sentence: string) => reject(new MoonringError('ERR_MOONRING_ADDON', sentence));
    if (!existsSync(script)) {
      fail(`${script} does not exist: this copy has no sources of the addon, install the package`);
      return;
    }
    const child = spawn(process.execPath, [script], { stdio: ['ignore', 'inherit', 'inherit'] });
    child.on('error', (error) => fail(`the build could not be started: ${messageOf(error)}`));
    child.on('close', (code) => {
      if (code === 0) resolve();
      else fail('the native addon was not built: the lines above say why');
    });
  });
}
