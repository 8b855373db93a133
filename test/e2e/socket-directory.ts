import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';

/** A directory for Unix sockets, whose paths must be short. The test's end removes it. */
export function socketDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'moonring-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
