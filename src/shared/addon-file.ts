import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { version } from './package-info.js';

/*
 * Where the native addon is: the file named by MOONRING_ADDON, the release build of this tree, or
 * the platform package that npm installed beside this one (an optional dependency of the published
 * package; scripts/packages builds them).
 */

/** The machine whose addon is needed. `libc` matters only on Linux. */
export interface Machine {
  readonly platform: string;
  readonly arch: string;
  readonly libc: () => Libc;
}

export type Libc = 'gnu' | 'musl';

/** `problem`: why there is none, with what to do about it. */
export type AddonSearch =
  | { readonly path: string; readonly from: 'variable' | 'build' | 'package' }
  | { readonly path: null; readonly problem: string };

const PACKAGED = [
  'linux-x64-gnu',
  'linux-x64-musl',
  'linux-arm64-gnu',
  'linux-arm64-musl',
  'darwin-arm64',
] as const;

const thisMachine: Machine = {
  platform: process.platform,
  arch: process.arch,
  libc: libcOfProcess,
};

export function findAddon(
  packageRoot: string,
  override: string | undefined,
  machine: Machine = thisMachine,
): AddonSearch {
  if (override) {
    if (existsSync(override)) return { path: override, from: 'variable' };
    const problem = `the native addon ${override} does not exist: MOONRING_ADDON names it`;
    return { path: null, problem };
  }
  const built = join(packageRoot, 'build', 'release', 'moonring.node');
  if (existsSync(built)) return { path: built, from: 'build' };
  const suffix = platformSuffix(machine);
  const wanted = `@moonring/${suffix}`;
  const found = installed(packageRoot, wanted);
  if (found?.version === version) return { path: found.path, from: 'package' };
  return { path: null, problem: problemOf(packageRoot, { machine, built, wanted, found }) };
}

/** The end of the name of this machine's package: "linux-x64-gnu". There may be no such package. */
export function platformSuffix(machine: Machine = thisMachine): string {
  const { platform, arch } = machine;
  return platform === 'linux' ? `linux-${arch}-${machine.libc()}` : `${platform}-${arch}`;
}

/** The name in messages: "linux x64 (musl)". */
export function nameOf(machine: Machine = thisMachine): string {
  const { platform, arch } = machine;
  return platform === 'linux' ? `linux ${arch} (${machine.libc()})` : `${platform} ${arch}`;
}

/** A clone has all sources, an installed package those of the addon. */
export function buildCommand(packageRoot: string): string {
  return isClone(packageRoot)
    ? '"npm run build", or let "npm start" install what is missing and build it'
    : '"npx moonring build"';
}

function isClone(packageRoot: string): boolean {
  return existsSync(join(packageRoot, 'src'));
}

interface Failure {
  readonly machine: Machine;
  readonly built: string;
  readonly wanted: string;
  readonly found: Installed | null;
}

function problemOf(packageRoot: string, { machine, built, wanted, found }: Failure): string {
  const advice = `build it with ${buildCommand(packageRoot)}`;
  if (isClone(packageRoot)) return `the native addon ${built} does not exist: ${advice}`;
  const others = PACKAGED.map((each) => `@moonring/${each}`).filter(
    (name) => name !== wanted && installed(packageRoot, name) !== null,
  );
  // Modules that were installed on another system and copied, or installed for another one.
  const instead = others.length > 0 ? ` (installed: ${others.join(', ')})` : '';
  let reason = `no package is made for it${instead}: use one of ${PACKAGED.join(', ')}`;
  if (found !== null)
    reason = `${wanted} is of version ${found.version}, not ${version}: install moonring again`;
  else if (PACKAGED.some((each) => wanted === `@moonring/${each}`))
    reason =
      `the package ${wanted} is not installed${instead}: install moonring on this system, ` +
      'with optional dependencies';
  return `there is no native addon for ${nameOf(machine)}: ${built} does not exist, and ${reason}; or ${advice}`;
}

interface Installed {
  readonly path: string;
  readonly version: string;
}

function installed(packageRoot: string, name: string): Installed | null {
  const require = createRequire(join(packageRoot, 'package.json'));
  try {
    const manifest: unknown = require(`${name}/package.json`);
    const isManifest = typeof manifest === 'object' && manifest !== null && 'version' in manifest;
    const path = require.resolve(`${name}/moonring.node`);
    return { path, version: isManifest ? String(manifest.version) : 'unknown' };
  } catch {
    return null;
  }
}

/** As node itself sees it. Without the network interfaces a report takes 9 ms. */
function libcOfProcess(): Libc {
  const report: typeof process.report & { excludeNetwork?: boolean } = process.report;
  const before = report.excludeNetwork ?? false;
  report.excludeNetwork = true;
  const { header } = report.getReport() as { header: { glibcVersionRuntime?: string } };
  report.excludeNetwork = before;
  return header.glibcVersionRuntime === undefined ? 'musl' : 'gnu';
}
