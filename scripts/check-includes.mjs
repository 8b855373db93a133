/*
 * Checks the includes of native/: floors (docs/architecture.md), system headers that only some
 * files may use, and that CMake names every source. The imports of src/ are checked by biome
 * (biome.json).
 *
 *     node scripts/check-includes.mjs [directory]
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

import { root } from './lib/root.mjs';

/** Floors of native/src, lowest first. A file includes its own floor and lower ones. */
const floors = [
  'base',
  'data',
  'os',
  'shared',
  'stream',
  'net',
  'http',
  'ws',
  'exec',
  'conn',
  'server',
];

/** System headers that only some files may include. */
const reserved = [
  [/^llhttp\.h$/, /^src\/http\//],
  [/^openssl\//, /^src\/(net\/hs_tls|ws\/hs_ws_handshake|exec\/hs_lua_(crypto|ngx))/],
  [/^zlib\.h$/, /^src\/(http\/hs_(inflate|coder)|ws\/hs_ws_deflate)\.c$/],
  [/^(libdeflate\.h|brotli\/)/, /^src\/http\/hs_coder\.c$/],
  [/^pcre2\.h$/, /^src\/exec\/hs_regex\.c$/],
  [/^(lua|lualib|lauxlib|luajit)\.h(pp)?$/, /^src\/exec\/hs_lua/],
  [
    /^(sys\/(socket|un|epoll|event|eventfd|timerfd|signalfd|select|poll|time)|poll|netdb)\.h$/,
    /^src\/os\//,
  ],
  [/^(netinet|arpa|net)\//, /^src\/os\//],
];
const standardC = /^(stdarg|stdbool|stddef|stdint|inttypes|limits|time)\.h$/;
const ofNode = /^(node|uv|v8)(\/.*)?(\.h)?$/;

const top = resolve(process.argv[2] ?? root);
const native = join(top, 'native');
let failed = 0;

for (const path of sources(native)) {
  const text = readFileSync(join(native, path), 'utf8').replace(/\/\*[\s\S]*?\*\//g, (comment) =>
    comment.replace(/[^\n]/g, ''),
  );
  for (const [index, line] of text.split('\n').entries()) {
    const [, quoted, system] = /^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)/.exec(line) ?? [];
    const problem = quoted ? ownHeader(path, quoted) : system && systemHeader(path, system);
    if (problem) report(`native/${path}:${index + 1}`, problem);
  }
}
for (const list of ['native', 'test/native']) {
  if (!existsSync(join(top, list, 'CMakeLists.txt'))) continue;
  const named = readFileSync(join(top, list, 'CMakeLists.txt'), 'utf8');
  for (const path of sources(join(top, list))) {
    if (/\.cc?$/.test(path) && !named.includes(path)) {
      report(`${list}/${path}`, `${list}/CMakeLists.txt does not name this file`);
    }
  }
}
process.exitCode = failed > 0 ? 1 : 0;

function ownHeader(path, header) {
  const isPublic = existsSync(join(native, 'include', header));
  const [where, floor] = path.split('/');
  if (isPublic) return null;
  if (where === 'include') return `a public header includes no ${header}`;
  if (where === 'binding') {
    const isOwn = existsSync(join(native, dirname(path), header));
    return isOwn ? null : `the binding uses public headers and its own, not ${header}`;
  }
  const target = floors.indexOf(header.split('/')[0]);
  if (target === -1) return `write "${header}" as floor/file.h (${floors.join(', ')})`;
  if (target > floors.indexOf(floor)) return `"${header}" is on a higher floor than ${floor}/`;
  return null;
}

function systemHeader(path, header) {
  if (path.startsWith('include/') && !standardC.test(header)) {
    return `a public header includes standard C headers only, not ${header}`;
  }
  if (path.startsWith('binding/') && ofNode.test(header)) {
    return `the binding uses Node-API, not ${header}`;
  }
  const rule = reserved.find(([name, only]) => name.test(header) && !only.test(path));
  return rule ? `${header} is only for ${rule[1].source.replaceAll('\\', '')}` : null;
}

function sources(directory) {
  return readdirSync(directory, { recursive: true }).filter((path) => /\.(c|h|cc)$/.test(path));
}

function report(where, problem) {
  process.stdout.write(`${where}: ${problem}\n`);
  failed += 1;
}
