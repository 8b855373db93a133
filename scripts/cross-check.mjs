/*
 * Other targets: builds the C core for 64-bit ARM on Linux and runs its tests under qemu-user, in a
 * container, and compiles it for macOS with zig's C compiler, which includes macOS's headers.
 *
 *     node scripts/cross-check.mjs [arm64-linux] [aarch64-macos] [x86_64-macos]
 */
import { copyFileSync, cpSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';

import { expect, runChecks } from './lib/checks.mjs';
import { findEngine } from './lib/engine.mjs';
import { root } from './lib/root.mjs';
import { capture, must, mustWithRetry } from './lib/run-command.mjs';
import { countCtest } from './lib/run-tests.mjs';

const zig = 'ziglang==0.15.1';
const luajitHeaders = '/usr/include/luajit-2.1';

await runChecks(async (check) => {
  const chosen = process.argv.slice(2);
  const isChosen = (name) => chosen.length === 0 || chosen.includes(name);
  if (isChosen('arm64-linux')) {
    const engine = await findEngine();
    await check('arm64-linux: the C tests pass under qemu-user', () => testArm64(engine));
  }
  for (const target of ['aarch64-macos', 'x86_64-macos'].filter(isChosen)) {
    await check(`${target}: compiles, and os/ links`, () => compileForMac(target));
  }
});

async function testArm64(engine) {
  const image = 'localhost/moonring-arm64';
  const tools =
    'cmake ninja-build pkg-config qemu-user g++-aarch64-linux-gnu libc6-dev-arm64-cross';
  const libraries = [
    'libluajit-5.1-dev',
    'libllhttp-dev',
    'libssl-dev',
    'zlib1g-dev',
    'libpcre2-dev',
    'libdeflate-dev',
    'libbrotli-dev',
    'libcmocka-dev',
    'lua-cjson',
  ];
  const packages = `${tools} ${libraries.map((name) => `${name}:arm64`).join(' ')}`;
  await engine.buildFrom(
    image,
    `FROM ${await engine.debian(13)}
RUN dpkg --add-architecture arm64 && apt-get update && \\
  apt-get install -y --no-install-recommends ${packages}
`,
  );
  const settings = ['TOOLCHAIN_FILE=/src/cmake/aarch64-linux.cmake', 'BUILD_TYPE=Debug'];
  const options = [...settings.map((each) => `-DCMAKE_${each}`), '-DMOONRING_BUILD_ADDON=OFF'];
  const script = `cmake -S /src -B /build -G Ninja -DMOONRING_WERROR=ON ${options.join(' ')} &&
    cmake --build /build && CMOCKA_MESSAGE_OUTPUT=TAP ctest --test-dir /build -V --parallel 2 --timeout 1200`;
  const volume = ['--volume', `${root}:/src:ro`, '--workdir', '/src', '--network', 'none'];
  const { code, output } = await engine.run(['run', '--rm', ...volume, image, 'sh', '-c', script]);
  const result = countCtest(output, code);
  expect(result.failed === 0, result.output);
  return `${result.passed} tests`;
}

/** The result cannot run here, but every file compiles, and every function called by os/ exists. */
async function compileForMac(target) {
  const work = mkdtempSync(join(tmpdir(), 'moonring-macos-'));
  try {
    const python = join(tmpdir(), 'moonring-zig', 'bin', 'python');
    if (!existsSync(python)) {
      await must('python3', ['-m', 'venv', join(tmpdir(), 'moonring-zig')]);
      await mustWithRetry(python, ['-m', 'pip', 'install', '--quiet', zig]);
    }
    // Only these files of /usr/include may be visible: the rest is Linux's.
    copyFileSync(llhttpHeader(), join(work, 'llhttp.h'));
    for (const name of ['zlib.h', 'zconf.h', 'pcre2.h', 'libdeflate.h'])
      copyFileSync(`/usr/include/${name}`, join(work, name));
    cpSync('/usr/include/brotli', join(work, 'brotli'), { recursive: true });
    // Debian keeps machine-dependent headers separately; for this purpose they are the same
    // everywhere.
    const multiarch = (await must('gcc', ['-print-multiarch'])).stdout.trim();
    for (const directory of ['/usr/include/openssl', `/usr/include/${multiarch}/openssl`])
      if (existsSync(directory)) cpSync(directory, join(work, 'openssl'), { recursive: true });
    const flags = ['-Wall', '-Wextra', '-Wpedantic', '-Wconversion', '-Wshadow', '-Wundef'];
    const compile = ['-m', 'ziglang', 'cc', '-target', target, '-std=c11', ...flags, '-Werror'];
    compile.push('-Inative/src', '-Inative/include', '-isystem', work, '-isystem', luajitHeaders);
    compile.push('-D_DARWIN_C_SOURCE', '-DHS_DEBUG', '-DMOONRING_VERSION="cross"');
    const { stdout } = await must('git', ['ls-files', 'native/src/*.c']);
    const sources = stdout.trim().split('\n');
    const objectOf = (source) => join(work, `${basename(source, '.c')}.o`);
    const problems = [];
    for (const source of sources) {
      const { code, output } = await capture(python, [
        ...compile,
        '-c',
        source,
        '-o',
        objectOf(source),
      ]);
      if (code !== 0) problems.push(output);
    }
    writeFileSync(join(work, 'main.c'), 'int main(void) { return 0; }\n');
    // The floors up to os/ call nothing above them.
    const os = sources.filter((source) => /^native\/src\/(data|os)\//.test(source)).map(objectOf);
    const link = ['-m', 'ziglang', 'cc', '-target', target, join(work, 'main.c'), ...os];
    const { code, output } = await capture(python, [...link, '-o', join(work, 'os')]);
    if (code !== 0) problems.push(output);
    expect(problems.length === 0, problems.join('\n'));
    return `${sources.length} files`;
  } finally {
    rmSync(work, { recursive: true });
  }
}

function llhttpHeader() {
  const sources = process.env.LLHTTP_SOURCE_DIR || '/usr/src/llhttp';
  const generated = join(sources, 'include', 'llhttp.h');
  return existsSync(generated) ? generated : '/usr/include/llhttp.h';
}
