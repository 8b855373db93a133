import { readdirSync, readFileSync } from 'node:fs';

/**
 * Debian 12 has no usable llhttp; Debian 13's two packages install on it unchanged (they need libc6
 * >= 2.3.4). This works out the two apt files that make exactly those two packages visible: a
 * source, which is the machine's own Debian mirror with the suite replaced, and a pin of -1 on
 * everything else from there, so that no other package can ever be taken from it by accident.
 */

const suite = 'trixie';
const sourcesDirectory = '/etc/apt/sources.list.d';

export const pinFile = {
  path: '/etc/apt/preferences.d/trixie-llhttp.pref',
  text: `Package: *
Pin: release n=${suite}
Pin-Priority: -1

Package: libllhttp-dev libllhttp9.2
Pin: release n=${suite}
Pin-Priority: 500
`,
};

/**
 * @param {string} codename of the running release, say 'bookworm'
 * @param {{ path: string, text: string }[]} [files] apt's source files
 * @returns {{ path: string, text: string } | null} null if none of them names a Debian mirror for
 *   that release
 */
export function llhttpSourceFile(codename, files = readAptSources()) {
  for (const { path, text } of files) {
    const derived = path.endsWith('.sources')
      ? fromDeb822(text, codename)
      : fromOneLine(text, codename);
    const extension = path.endsWith('.sources') ? 'sources' : 'list';
    if (derived) return { path: `${sourcesDirectory}/${suite}-llhttp.${extension}`, text: derived };
  }
  return null;
}

/**
 * deb822 paragraphs ("Types: deb / URIs: … / Suites: …"), where a value may go on over indented
 * lines.
 */
function fromDeb822(text, codename) {
  for (const paragraph of text.replace(/^#.*\n?/gm, '').split(/\n\s*\n/)) {
    const fields = new Map();
    for (const [, name, value] of paragraph.matchAll(/^([\w-]+):((?:.*)(?:\n[ \t].*)*)/gm)) {
      fields.set(name.toLowerCase(), value.trim());
    }
    const words = (name) => (fields.get(name) ?? '').split(/\s+/);
    if (!words('types').includes('deb') || !words('suites').includes(codename)) continue;
    if (/^(no|false|0)$/i.test(fields.get('enabled') ?? 'yes')) continue;
    if (!fields.get('uris')) continue;
    const signedBy = fields.get('signed-by');
    return [
      'Types: deb',
      `URIs: ${words('uris')[0]}`,
      `Suites: ${suite}`,
      'Components: main',
      ...(signedBy ? [`Signed-By:${signedBy.includes('\n') ? '\n ' : ' '}${signedBy}`] : []),
      '',
    ].join('\n');
  }
  return null;
}

/** The classic form: "deb [options] URI suite component…", a line each. */
function fromOneLine(text, codename) {
  for (const line of text.split('\n')) {
    const match = /^\s*deb\s+(\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+\S/.exec(line);
    if (!match || match[3] !== codename || match[2].startsWith('cdrom:')) continue;
    return `deb ${match[1]?.trim() ? `${match[1].trim()} ` : ''}${match[2]} ${suite} main\n`;
  }
  return null;
}

function readAptSources() {
  const paths = ['/etc/apt/sources.list'];
  try {
    for (const name of readdirSync(sourcesDirectory).sort()) {
      if (/\.(list|sources)$/.test(name)) paths.push(`${sourcesDirectory}/${name}`);
    }
  } catch {
    // No directory: the one classic file is all there is.
  }
  return paths.flatMap((path) => {
    try {
      return [{ path, text: readFileSync(path, 'utf8') }];
    } catch {
      return [];
    }
  });
}
