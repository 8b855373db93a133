import t from 'tap';
import { type AllocatorInputs, chooseAllocator } from '../../../../src/master/runtime/allocator.js';
import { PRELOAD_VARIABLES } from '../../../../src/shared/preload.js';

const DEBIAN = '/usr/lib/x86_64-linux-gnu/libjemalloc.so.2';

function choose(given: Partial<AllocatorInputs> & { readonly installed?: readonly string[] }) {
  const { installed = [DEBIAN], ...rest } = given;
  return chooseAllocator({
    wanted: 'jemalloc',
    platform: 'linux',
    arch: 'x64',
    env: {},
    exists: (path) => installed.includes(path),
    ...rest,
  });
}

t.test('jemalloc is preloaded if it is installed', async (t) => {
  const choice = choose({});
  t.match(choice, { type: 'jemalloc', path: DEBIAN, env: { LD_PRELOAD: DEBIAN } });
  t.match(choice, { env: { MALLOC_CONF: 'background_thread:true' } });
  const arm = '/usr/lib/aarch64-linux-gnu/libjemalloc.so.2';
  t.match(choose({ arch: 'arm64', installed: [arm] }), { path: arm });
  const alpine = '/usr/lib/libjemalloc.so.2';
  t.match(choose({ installed: [alpine] }), { path: alpine });
  const brew = '/opt/homebrew/opt/jemalloc/lib/libjemalloc.2.dylib';
  t.match(choose({ platform: 'darwin', arch: 'arm64', installed: [brew] }), {
    env: { DYLD_INSERT_LIBRARIES: brew },
  });
});

t.test('libraries preloaded by the operator are kept', async (t) => {
  const env = { LD_PRELOAD: '/x.so', MALLOC_CONF: 'narenas:1' };
  t.match(choose({ env }), { env: { LD_PRELOAD: `${DEBIAN}:/x.so`, MALLOC_CONF: 'narenas:1' } });
});

t.test('the system allocator, with the reason', async (t) => {
  t.match(choose({ wanted: 'system' }), { type: 'system', unexpected: false });
  t.match(choose({ installed: [] }), { type: 'system', unexpected: true });
  for (const library of ['libasan.so.8', 'libtsan.so.2', 'libubsan.so', 'libclang_rt.asan.so']) {
    const choice = choose({ env: { LD_PRELOAD: `/usr/lib/${library}` } });
    t.match(choice, { type: 'system', reason: 'a sanitizer is preloaded' }, library);
  }
});

t.test('a reactor removes every variable that was set for it', async (t) => {
  for (const platform of ['linux', 'darwin']) {
    const choice = chooseAllocator({
      wanted: 'jemalloc',
      platform,
      arch: 'x64',
      env: {},
      exists: () => true,
    });
    if (choice.type !== 'jemalloc') throw new TypeError(choice.reason);
    const names: readonly string[] = PRELOAD_VARIABLES;
    t.ok(Object.keys(choice.env).every((name) => names.includes(name)));
  }
});
