import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const STAND_IN = fileURLToPath(new URL('stand-in/k6.mjs', import.meta.url));

export interface LoadRun {
  readonly code: number | null;
  readonly output: string;
  readonly report: string;
}

/**
 * Runs scripts/load.mjs with these arguments, on this machine's k6 or, if it has none, on the
 * stand-in.
 */
export async function runLoad(t: Test, args: readonly string[], k6 = findK6()): Promise<LoadRun> {
  const directory = mkdtempSync(join(tmpdir(), 'moonring-load-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const report = join(directory, 'report.md');
  const child = spawn(process.execPath, ['scripts/load.mjs', ...args, '--report', report], {
    cwd: ROOT,
    env: { ...environment(), LOAD_K6: k6 },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const code = await new Promise<number | null>((resolve) => {
    child.on('close', resolve);
  });
  return { code, output, report: readIfThere(report) };
}

function findK6(): string {
  const found = spawnSync('sh', ['-c', 'command -v k6'], { encoding: 'utf8' });
  return found.status === 0 ? found.stdout.trim() : STAND_IN;
}

/** The test runner adds loaders to every node it starts. */
function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(NODE_OPTIONS|_?TAP.*)$/.test(name)),
  );
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
