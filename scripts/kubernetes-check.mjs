/*
 * Renders deploy/kubernetes with kubectl's kustomize and validates it against the schemas of
 * Kubernetes that the PyPI package kubernetes-validate carries (in a virtual environment of its
 * own). Says what is missing where that cannot be done. PodMonitor is no kind of Kubernetes itself,
 * so it is left out; test/unit/deploy looks at it.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';

import { hasCommand } from './lib/find-file.mjs';
import { capture, must, mustWithRetry } from './lib/run-command.mjs';
import { runMain } from './lib/setup-error.mjs';

const validator = 'kubernetes-validate==1.37.0';
const versions = ['1.30.0', '1.37.0'];
const ownKinds = ['PodMonitor'];

await runMain(async () => {
  const missing = ['kubectl', 'python3'].filter((name) => !hasCommand(name));
  if (missing.length > 0) {
    process.stdout.write(`skipped: ${missing.join(' and ')} missing\n`);
    return;
  }
  const directory = mkdtempSync(join(tmpdir(), 'moonring-kubernetes-'));
  try {
    await validate(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

async function validate(directory) {
  const { stdout } = await must('kubectl', ['kustomize', 'deploy/kubernetes/monitored']);
  const documents = parseAllDocuments(stdout).filter(
    (document) => !ownKinds.includes(document.get('kind')),
  );
  const file = join(directory, 'rendered.yaml');
  writeFileSync(file, documents.map(String).join('---\n'));
  await must('python3', ['-m', 'venv', directory]);
  await mustWithRetry(join(directory, 'bin/pip'), ['install', '--quiet', validator]);
  const program = join(directory, 'bin/kubernetes-validate');
  let passed = 0;
  let failed = 0;
  for (const version of versions) {
    const { code, output } = await capture(program, ['--strict', '-k', version, file]);
    const good = output.split('\n').filter((line) => line.includes(' passed ')).length;
    passed += good;
    failed += documents.length - good;
    if (code !== 0) process.stdout.write(output);
  }
  process.stdout.write(`${passed} checks passed, ${failed} failed\n`);
  process.exitCode = failed > 0 ? 1 : 0;
}
