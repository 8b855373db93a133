import { capture } from './run-command.mjs';

/**
 * How to run a command as root here: an argument list to put in front (empty if we are root), or
 * null if there is no way that asks no question.
 *
 * @returns {Promise<string[] | null>}
 */
export async function findPrivilege() {
  if (process.getuid?.() === 0) return [];
  const sudo = await capture('sudo', ['-n', 'true']);
  return sudo.code === 0 ? ['sudo', '-n'] : null;
}
