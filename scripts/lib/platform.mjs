import { readFileSync } from 'node:fs';

/**
 * What this machine is, as far as set-up cares. `packager` is the tool that installs system
 * packages; `release` is Debian's number (12, 13, …), or null for anything that is not a numbered
 * Debian.
 *
 * @typedef {'apt' | 'brew' | 'none'} Packager
 * @returns {{ packager: Packager, name: string, release: number | null, codename: string }}
 */
export function detectPlatform() {
  if (process.platform === 'darwin') {
    return { packager: 'brew', name: 'macOS', release: null, codename: '' };
  }
  const os = readOsRelease();
  const family = [os.ID, ...(os.ID_LIKE ?? '').split(' ')];
  return {
    packager: family.includes('debian') ? 'apt' : 'none',
    name: os.PRETTY_NAME ?? os.ID ?? process.platform,
    release: os.ID === 'debian' ? Number.parseInt(os.VERSION_ID ?? '', 10) || null : null,
    codename: os.VERSION_CODENAME ?? '',
  };
}

function readOsRelease() {
  const values = {};
  let text = '';
  try {
    text = readFileSync('/etc/os-release', 'utf8');
  } catch {
    return values;
  }
  for (const line of text.split('\n')) {
    const match = /^([A-Z_]+)=(?:"(.*)"|'(.*)'|(.*))$/.exec(line);
    if (match) values[match[1]] = match[2] ?? match[3] ?? match[4];
  }
  return values;
}
