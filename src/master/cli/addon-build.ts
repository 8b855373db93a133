import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { MoonringError, messageOf } from '../../shared/errors.js';

/**
 * `moonring build`: runs the package's script that installs the addon's dependencies and builds it.
 * The script reports on standard error; if it fails, this rejects with ERR_MOONRING_ADDON.
 */
export function buildAddon(packageRoot: string): Promise<void> {
  const script = join(packageRoot, 'scripts', 'build-addon.mjs');
  return new Promise((resolve, reject) => {
    const fail = (message: string) => reject(new MoonringError('ERR_MOONRING_ADDON', message));
    if (!existsSync(script)) {
      fail(`${script} does not exist: this copy has no sources of the addon, install the package`);
      return;
    }
    const child = spawn(process.execPath, [script], { stdio: ['ignore', 'inherit', 'inherit'] });
    child.on('error', (error) => fail(`the build could not be started: ${messageOf(error)}`));
    child.on('close', (code) => {
      if (code === 0) resolve();
      else fail('the native addon was not built: see the lines above');
    });
  });
}
