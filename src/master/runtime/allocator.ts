import { posix } from 'node:path';

/**
 * The malloc of the reactors. jemalloc cannot be linked into an addon (it needs static TLS), so the
 * master preloads it into the reactors, and only there.
 */
export type AllocatorChoice =
  | {
      readonly type: 'jemalloc';
      readonly path: string;
      /** Variables for the reactors, on top of the master's. */
      readonly env: Readonly<Record<string, string>>;
    }
  | {
      readonly type: 'system';
      readonly reason: string;
      /** Not what was configured. */
      readonly unexpected: boolean;
    };

export interface AllocatorInputs {
  readonly wanted: 'jemalloc' | 'system';
  readonly platform: string;
  readonly arch: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly exists: (path: string) => boolean;
}

/** Return memory to the system a second after it was freed, from a background thread. */
const MALLOC_CONF = 'background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0';

const LINUX_TRIPLETS: Readonly<Record<string, string>> = {
  x64: 'x86_64-linux-gnu',
  arm64: 'aarch64-linux-gnu',
};

/** The variables it sets are those of shared/preload.ts. */
export function chooseAllocator(inputs: AllocatorInputs): AllocatorChoice {
  const { wanted, platform, env, exists } = inputs;
  if (wanted === 'system') return { type: 'system', reason: 'configured', unexpected: false };
  const variable = platform === 'darwin' ? 'DYLD_INSERT_LIBRARIES' : 'LD_PRELOAD';
  const preloaded = env[variable] ?? '';
  if (/lib(clang_rt\.)?[atu]b?san/.test(preloaded)) {
    return { type: 'system', reason: 'a sanitizer is preloaded', unexpected: false };
  }
  const path = candidates(inputs).find(exists);
  if (path === undefined) {
    return { type: 'system', reason: 'no jemalloc library was found', unexpected: true };
  }
  return {
    type: 'jemalloc',
    path,
    env: {
      [variable]: preloaded === '' ? path : `${path}:${preloaded}`,
      MALLOC_CONF: env['MALLOC_CONF'] || MALLOC_CONF,
    },
  };
}

function candidates({ platform, arch }: AllocatorInputs): string[] {
  if (platform === 'darwin') {
    const prefixes = ['/opt/homebrew', '/usr/local'];
    return prefixes.flatMap((prefix) => [
      `${prefix}/opt/jemalloc/lib/libjemalloc.2.dylib`,
      `${prefix}/lib/libjemalloc.2.dylib`,
    ]);
  }
  const triplet = LINUX_TRIPLETS[arch];
  const multiarch = triplet === undefined ? [] : [`/usr/lib/${triplet}`, `/lib/${triplet}`];
  const directories = [...multiarch, '/usr/lib64', '/usr/lib', '/usr/local/lib', '/lib'];
  return directories.map((directory) => posix.join(directory, 'libjemalloc.so.2'));
}
