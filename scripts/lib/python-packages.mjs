import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './root.mjs';
import { capture } from './run-command.mjs';

/**
 * A Python virtual environment below build/ with packages from PyPI, created if it has no `program`
 * yet. Returns the directory of its programs, or the reason why there is none.
 *
 * @returns {Promise<{ bin: string, reason?: undefined } | { bin?: undefined, reason: string }>}
 */
export async function pythonPackages(name, packages, program) {
  const directory = join(root, 'build', name);
  const bin = join(directory, 'bin');
  if (existsSync(join(bin, program))) return { bin };
  const made = await capture('python3', ['-m', 'venv', directory]);
  if (made.code !== 0) return { reason: `python3 cannot make an environment: ${made.output}` };
  const pip = ['-m', 'pip', 'install', '--quiet', ...packages];
  const installed = await capture(join(bin, 'python'), pip);
  if (installed.code === 0) return { bin };
  return { reason: `pip cannot install ${packages.join(' and ')}: ${installed.output}` };
}
