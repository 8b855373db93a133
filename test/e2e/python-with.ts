import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The first Python that has a module: each installation has its own packages. */
export async function pythonWith(module: string): Promise<string | undefined> {
  for (const python of ['python3', '/usr/bin/python3']) {
    const found = await run(python, ['-c', `import ${module}`]).catch(() => undefined);
    if (found) return python;
  }
  return undefined;
}
