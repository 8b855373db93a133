/* The licences of everything inside an addon, each in a file named after it. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { root } from '../lib/root.mjs';
import { sources } from './sources.mjs';

const read = (...path) => readFileSync(join(...path), 'utf8');
const installed = (...path) => read(root, 'node_modules', ...path);
/** Files whose first long comment is the licence. */
const notice = (...path) => /Copyright[\s\S]*?\*\//.exec(read(...path))[0].slice(0, -2);
/** Their sources come without a licence file; the text is the same as ours. */
const mit = (holder) => read(root, 'LICENSE').replace(/^Copyright .*$/m, `Copyright ${holder}`);

export function writeLicenses(directory) {
  const texts = {
    moonring: read(root, 'LICENSE'),
    LuaJIT: read(sources.luajit, 'luajit2', 'COPYRIGHT'),
    'lua-cjson': read(sources.cjson, 'LICENSE'),
    llhttp: mit('(c) 2018 Fedor Indutny and the llhttp contributors'),
    PCRE2: notice(sources.pcre2, 'include', 'pcre2.h'),
    sljit: notice(sources.pcre2, 'deps', 'sljit', 'sljit_src', 'sljitLir.h'),
    zlib: read(sources.zlib, 'LICENSE'),
    libdeflate: read(sources.libdeflate, 'COPYING'),
    brotli: mit('(c) 2009, 2010, 2013-2016 by the Brotli Authors'),
    'OpenSSL-headers': read(sources.openssl, 'LICENSE.txt'),
    'LLVM-runtime': read(sources.zig, 'lib', 'libunwind', 'LICENSE.TXT'),
    'zig-runtime': read(sources.zig, 'LICENSE'),
    'node-addon-api': installed('node-addon-api', 'LICENSE.md'),
    'node-api-headers': installed('node-api-headers', 'LICENSE'),
    'mime-db': installed('mime-db', 'LICENSE'),
  };
  mkdirSync(directory);
  for (const [name, text] of Object.entries(texts))
    writeFileSync(join(directory, `${name}.txt`), text);
}
