import t from 'tap';

import { llhttpSourceFile } from '../../../scripts/lib/llhttp-pin.mjs';

const mirror = 'http://mirror.example/debian';

t.test('a deb822 source gives a deb822 source with the same mirror and key', async (t) => {
  const text = [
    '# made by the installer',
    'Types: deb',
    'URIs: http://mirror.example/debian-security',
    'Suites: bookworm-security',
    'Components: main',
    '',
    'Types: deb deb-src',
    `URIs: ${mirror}`,
    'Suites: bookworm bookworm-updates',
    'Components: main contrib',
    'Signed-By: /usr/share/keyrings/some.gpg',
    '',
  ].join('\n');
  t.same(llhttpSourceFile('bookworm', [{ path: '/etc/apt/sources.list.d/debian.sources', text }]), {
    path: '/etc/apt/sources.list.d/trixie-llhttp.sources',
    text: [
      'Types: deb',
      `URIs: ${mirror}`,
      'Suites: trixie',
      'Components: main',
      'Signed-By: /usr/share/keyrings/some.gpg',
      '',
    ].join('\n'),
  });
});

t.test('a key that stands in the source itself is kept', async (t) => {
  const text = [
    'Types: deb',
    `URIs: ${mirror}`,
    'Suites: bookworm',
    'Signed-By:',
    ' -----BEGIN PGP PUBLIC KEY BLOCK-----',
    ' .',
    ' mQINBF',
    '',
  ].join('\n');
  const derived = llhttpSourceFile('bookworm', [{ path: 'a.sources', text }]);
  t.match(derived?.text, /Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n \.\n mQINBF\n$/);
});

t.test('a classic source gives a classic source with the same options', async (t) => {
  const text = [
    '# deb http://commented.example/debian bookworm main',
    'deb cdrom:[Debian]/ bookworm main',
    'deb-src http://sources.example/debian bookworm main',
    `deb [arch=amd64 signed-by=/some.gpg] ${mirror} bookworm main contrib`,
  ].join('\n');
  t.same(llhttpSourceFile('bookworm', [{ path: '/etc/apt/sources.list', text }]), {
    path: '/etc/apt/sources.list.d/trixie-llhttp.list',
    text: `deb [arch=amd64 signed-by=/some.gpg] ${mirror} trixie main\n`,
  });
});

t.test('a source that is switched off or for another suite gives none', async (t) => {
  const off = `Types: deb\nURIs: ${mirror}\nSuites: bookworm\nEnabled: no\n`;
  t.equal(llhttpSourceFile('bookworm', [{ path: 'a.sources', text: off }]), null);
  const other = `deb ${mirror} bookworm-backports main\n`;
  t.equal(llhttpSourceFile('bookworm', [{ path: 'sources.list', text: other }]), null);
});
