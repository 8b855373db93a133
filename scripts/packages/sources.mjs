/*
 * The sources of the addon of a platform package, each with name, version and SHA-256, downloaded
 * by the registries' clients: pip, cargo, apt-get. They are stored in build/packages/sources.
 */
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { say } from '../lib/progress.mjs';
import { root } from '../lib/root.mjs';
import { must, mustWithRetry } from '../lib/run-command.mjs';
import { SetupError } from '../lib/setup-error.mjs';
import { aptMirror } from '../lib/system-packages.mjs';

export const workDirectory = join(root, 'build', 'packages');
const directory = join(workDirectory, 'sources');

/** The compiler for every target (one hash for each host architecture), and the parser. */
const pip = [
  {
    name: 'ziglang',
    version: '0.17.1',
    hashes: [
      'ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54',
      'b7c5f02fccd40f89b999ee16a1f5ddced56e6182370f8affe494bcf8a28cf07e',
    ],
  },
  {
    name: 'llhttp',
    version: '9.3.0.0',
    hashes: ['0d989363e7fb6f270b9d49956e7a3945c26778f8c70a166815264309ac6a8295'],
  },
];

/**
 * C sources contained in crates; cargo only fetches them. OpenSSL: its headers, node has the rest.
 */
const crates = [
  ['luajit-src', '210.7.4', '1db548b001f0b7da416daf0ffae963912bae6cad1799fa9f4eaba09da6dba837'],
  ['pcre2-sys', '0.2.10', '18b9073c1a2549bd409bf4a32c94d903bb1a09bf845bc306ae148897fa0760a4'],
  ['libz-sys', '1.1.33', 'fee3f59f4321dab0c78d828942e7aa09d0bd8ad6e78a501977e6bf3d02938045'],
  ['libdeflate-sys', '1.26.1', 'd7870e5fbd2766179a937c725fb11f4ca0ef025d982beb61bd3ce755425bd19c'],
  ['brotlic-sys', '0.2.2', 'afdec5c62bc97b56349053cf66ba503af5c2448591be61c3ad70a5f11b57e574'],
  ['openssl-src', '300.0.13', 'f00789a63ec8951fcda9adb0f2258582afdcfe1b2435e332d3a859896f814f0a'],
];

/** Available from no other registry. */
const cjson = {
  name: 'lua-cjson',
  release: 'bookworm',
  file: 'lua-cjson_2.1.0+dfsg.orig.tar.gz',
  hash: '94f1fce36742cf00e99c5071b309b9f71e6e7daf60a7151f7bf4ac0a97259ac4',
};

/** The directory of the sources, as CMakeLists.txt in this directory expects them. */
export const sources = {
  zig: join(directory, 'pip', 'ziglang'),
  llhttp: join(directory, 'llhttp'),
  luajit: join(directory, 'vendor', 'luajit-src'),
  pcre2: join(directory, 'vendor', 'pcre2-sys', 'upstream'),
  zlib: join(directory, 'vendor', 'libz-sys', 'src', 'zlib'),
  libdeflate: join(directory, 'vendor', 'libdeflate-sys', 'libdeflate'),
  brotli: join(directory, 'vendor', 'brotlic-sys', 'brotli', 'c'),
  openssl: join(directory, 'vendor', 'openssl-src', 'openssl'),
  cjson: join(directory, 'cjson'),
};

/** Does nothing if they exist in the versions of this file. */
export async function bringSources() {
  const stamp = join(directory, '.stamp');
  const wanted = JSON.stringify([pip, crates, cjson]);
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  await bringFromPip();
  await bringCrates();
  await bringCjson();
  await configureOpenSsl();
  writeFileSync(stamp, wanted);
}

async function bringFromPip() {
  say(`pip download ${pip.map(({ name, version }) => `${name} ${version}`).join(', ')}`);
  for (const { name, version, hashes } of pip) {
    const line = [`${name}==${version}`, ...hashes.map((hash) => `--hash=sha256:${hash}`)];
    writeFileSync(join(directory, `${name}.txt`), `${line.join(' ')}\n`);
  }
  const pipWith = (...args) => mustWithRetry('python3', ['-m', 'pip', '-q', ...args]);
  const target = join(directory, 'pip');
  const hashed = ['--no-deps', '--disable-pip-version-check', '--require-hashes', '-r'];
  await pipWith('install', '--target', target, ...hashed, join(directory, 'ziglang.txt'));
  const archive = ['--no-binary', ':all:', '--dest', directory];
  await pipWith('download', ...archive, ...hashed, join(directory, 'llhttp.txt'));
  // In the layout of llhttp's releases.
  const unpacked = join(directory, 'llhttp-9.3.0.0');
  await must('tar', ['-xzf', `${unpacked}.tar.gz`, '-C', directory]);
  cpSync(join(unpacked, 'lib'), join(sources.llhttp, 'src'), { recursive: true });
  cpSync(join(unpacked, 'lib', 'llhttp.h'), join(sources.llhttp, 'include', 'llhttp.h'));
}

async function bringCrates() {
  say(`cargo vendor ${crates.map(([name, version]) => `${name} ${version}`).join(', ')}`);
  const dependencies = crates.map(([name, version]) => `${name} = "=${version}"\n`).join('');
  const manifest = join(directory, 'Cargo.toml');
  writeFileSync(
    manifest,
    `[package]\nname = "sources"\nversion = "0.0.0"\n[lib]\npath = "Cargo.toml"\n[dependencies]\n${dependencies}`,
  );
  const vendor = join(directory, 'vendor');
  await mustWithRetry('cargo', ['-q', 'vendor', '--manifest-path', manifest, vendor]);
  for (const [name, , hash] of crates) {
    // cargo checks its download against this hash, from the index.
    const record = readFileSync(join(vendor, name, '.cargo-checksum.json'), 'utf8');
    requireHash(name, JSON.parse(record).package, hash);
  }
}

async function bringCjson() {
  say(`apt-get source ${cjson.name}`);
  // A separate list: the system's is neither read nor written.
  const apt = join(directory, 'apt');
  const lists = join(apt, 'lists');
  mkdirSync(join(lists, 'partial'), { recursive: true });
  const list = join(apt, 'sources.list');
  const key = '/usr/share/keyrings/debian-archive-keyring.gpg';
  writeFileSync(list, `deb-src [signed-by=${key}] ${await aptMirror()} ${cjson.release} main\n`);
  const settings = { sourcelist: list, sourceparts: '/dev/null' };
  const options = Object.entries(settings).flatMap(([name, value]) => [
    '-o',
    `Dir::Etc::${name}=${value}`,
  ]);
  options.push('-o', `Dir::State::lists=${lists}`, '-o', 'APT::Sandbox::User=root');
  await mustWithRetry('apt-get', ['-q', ...options, 'update']);
  const fetch = `cd '${apt}' && exec apt-get -q "$@" source --download-only ${cjson.name}`;
  await mustWithRetry('sh', ['-c', fetch, 'sh', ...options]);
  const archive = join(apt, cjson.file);
  requireHash(
    cjson.file,
    createHash('sha256').update(readFileSync(archive)).digest('hex'),
    cjson.hash,
  );
  mkdirSync(sources.cjson);
  await must('tar', ['-xzf', archive, '-C', sources.cjson, '--strip-components=1']);
}

/** Two of OpenSSL's headers are generated by its configuration, the same for every target. */
async function configureOpenSsl() {
  say('configuring the headers of OpenSSL');
  const script = 'perl Configure linux-x86_64 no-asm && make -s build_generated';
  await must('sh', ['-c', `cd '${sources.openssl}' && ${script}`]);
}

function requireHash(what, found, wanted) {
  if (found !== wanted)
    throw new SetupError(
      `${what} is not what scripts/packages/sources.mjs names: SHA-256 ${found}`,
    );
}
