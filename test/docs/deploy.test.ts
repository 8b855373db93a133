import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { parse, parseAllDocuments } from 'yaml';
import { metricFamilies } from '../../src/master/admin/metrics.js';
import { readCommandLine } from '../../src/master/cli/cli.js';
import { OPTIONS, ownEnvName } from '../../src/shared/options.js';
import { hasProgram } from '../e2e/server.js';
import { metricsInputs } from '../unit/master/admin/stats-fixture.js';
import { ROOT } from './pages.js';

const DEPLOY = join(ROOT, 'deploy');
const scratch = mkdtempSync(join(tmpdir(), 'moonring-deploy-'));
t.teardown(() => rmSync(scratch, { recursive: true }));

/** The labels of the samples of each metric family. */
const metrics = new Map(
  metricFamilies(metricsInputs()).map(({ name, samples }) => [
    name,
    new Set(samples.flatMap(({ labels }) => Object.keys(labels))),
  ]),
);
/** Set by Prometheus. */
const TARGET_LABELS = ['job', 'instance'];

t.test('each query of the dashboard uses a metric and labels of /metrics', async (t) => {
  const dashboard = JSON.parse(readFileSync(join(DEPLOY, 'grafana/moonring.json'), 'utf8'));
  const panels: { title: string; targets?: { expr: string; legendFormat: string }[] }[] =
    dashboard.panels;
  const queries = panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr, legendFormat }) => ({ title, expr, legendFormat })),
  );
  t.ok(queries.length > 40);
  for (const { title, expr, legendFormat } of queries) {
    const found = [...expr.matchAll(/\b((?:moonring|http|process)_\w+)\{([^}]*)\}/g)];
    t.ok(found.length > 0, `${title}: ${expr}`);
    const labels = new Set(TARGET_LABELS);
    for (const [, name = '', selector = ''] of found) {
      const family = name.replace(/_(bucket|sum|count)$/, '');
      const known = metrics.get(metrics.has(name) ? name : family);
      t.ok(known, `${title}: ${name}`);
      for (const label of known ?? []) labels.add(label);
      for (const [, label = ''] of selector.matchAll(/(\w+)=/g)) {
        t.ok(labels.has(label), `${title}: ${label} of ${name}`);
      }
    }
    const groups = [...expr.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, list = '']) =>
      list.split(', '),
    );
    const shown = [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label = '']) => label);
    for (const label of groups) t.ok(labels.has(label) || label === 'le', `${title}: by ${label}`);
    for (const label of shown) t.ok(groups.includes(label), `${title}: shows ${label}`);
  }
});

t.test('the panels do not overlap, and have unique numbers', async (t) => {
  const { panels } = JSON.parse(readFileSync(join(DEPLOY, 'grafana/moonring.json'), 'utf8'));
  const taken = new Set<string>();
  for (const { id, title, gridPos } of panels) {
    t.notOk(taken.has(`#${id}`), title);
    taken.add(`#${id}`);
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        if (x >= 24 || taken.has(`${x} ${y}`)) t.fail(`${title} at ${x} ${y}`);
        taken.add(`${x} ${y}`);
      }
    }
  }
});

t.test('the units are valid for systemd, and their command runs', async (t) => {
  const folder = join(DEPLOY, 'systemd');
  const service = readFileSync(join(folder, 'moonring.service'), 'utf8');
  const [, words = ''] = /^ExecStart=\/usr\/bin\/env moonring (.*)$/m.exec(service) ?? [];
  const argv = words.replaceAll('%t', '/run').split(' ');
  const line = readCommandLine({ argv, env: {}, cwd: '/', readText: () => '' });
  if (line.action !== 'serve') throw new TypeError(line.action);
  const { drainDelay, drainTimeout, app } = line.resolved.config;
  t.equal(app, '/srv/app');
  const [, stop = ''] = /^TimeoutStopSec=(\d+)$/m.exec(service) ?? [];
  t.ok(Number(stop) * 1000 >= drainDelay + drainTimeout + 5000, 'time to drain');
  if (!hasProgram('systemd-analyze')) return;
  const units = readdirSync(folder);
  for (const unit of units) copyFileSync(join(folder, unit), join(scratch, unit));
  const paths = units.map((unit) => join(scratch, unit));
  const { status, stderr } = spawnSync('systemd-analyze', ['verify', ...paths], {
    encoding: 'utf8',
  });
  t.strictSame({ status, stderr }, { status: 0, stderr: '' });
});

const KUBERNETES = join(DEPLOY, 'kubernetes');

t.test('the manifests are for one app, and set existing options', async (t) => {
  const base = join(KUBERNETES, 'base');
  const { resources } = parse(readFileSync(join(base, 'kustomization.yaml'), 'utf8'));
  const objects = resources.map((name: string) => parse(readFileSync(join(base, name), 'utf8')));
  const files = readdirSync(base).filter((name) => /^(?!kustomization).*\.yaml$/.test(name));
  t.strictSame([...resources].sort(), files.sort(), 'each is named');
  const label = { 'app.kubernetes.io/name': 'moonring' };
  for (const { kind, metadata } of objects) {
    t.match(metadata, { name: 'moonring', labels: label }, kind);
  }
  const of = (kind: string) => objects.find((each: { kind: string }) => each.kind === kind);
  for (const kind of ['Deployment', 'PodDisruptionBudget']) {
    t.strictSame(of(kind).spec.selector.matchLabels, label, kind);
  }
  t.strictSame(of('Service').spec.selector, label);
  t.strictSame(of('NetworkPolicy').spec.podSelector.matchLabels, label);
  const { template } = of('Deployment').spec;
  t.strictSame(template.metadata.labels, label);
  const [container] = template.spec.containers;
  const ports = container.ports.map(({ name }: { name: string }) => name);
  const probes = ['startupProbe', 'readinessProbe', 'livenessProbe'].map((name) => container[name]);
  for (const { httpGet } of probes) t.ok(ports.includes(httpGet.port), httpGet.path);
  for (const { targetPort } of of('Service').spec.ports) t.ok(ports.includes(targetPort));
  const admitted = of('NetworkPolicy').spec.ingress;
  for (const rule of admitted) for (const { port } of rule.ports) t.ok(ports.includes(port), port);
  const [open] = admitted.filter((rule: { from?: unknown }) => rule.from === undefined);
  t.strictSame(open.ports, [{ port: 'http' }], 'the admin port is not for all');
  const variables = new Set(OPTIONS.map(({ name }) => ownEnvName(name)));
  for (const { name } of container.env) t.ok(variables.has(name), name);
  const seconds = (name: string) => {
    const value = container.env.find((each: { name: string }) => each.name === name)?.value;
    return Number.parseInt(value, 10);
  };
  const grace = seconds('MOONRING_DRAIN_DELAY') + seconds('MOONRING_DRAIN_TIMEOUT') + 5;
  t.equal(template.spec.terminationGracePeriodSeconds, grace);
});

const skip = hasProgram('kubectl') ? false : 'no kubectl';

t.test('an overlay with TLS and a PodMonitor is rendered', { skip }, async (t) => {
  const overlay = join(ROOT, 'build', 'overlay-of-tests');
  const kustomization = JSON.stringify({
    resources: [join('..', '..', 'deploy/kubernetes/monitored')],
    components: [join('..', '..', 'deploy/kubernetes/tls')],
  });
  spawnSync('mkdir', ['-p', overlay]);
  t.teardown(() => rmSync(overlay, { recursive: true }));
  writeFileSync(join(overlay, 'kustomization.yaml'), kustomization);
  const { status, stdout, stderr } = spawnSync('kubectl', ['kustomize', overlay], {
    encoding: 'utf8',
  });
  t.equal(status, 0, stderr);
  const objects = parseAllDocuments(stdout).map((each) => each.toJS());
  const of = (kind: string) => objects.find((each) => each.kind === kind);
  t.ok(of('PodMonitor'));
  t.match(of('Service').spec.ports, [{ name: 'http' }, { name: 'https', targetPort: 'https' }]);
  const { volumes, containers } = of('Deployment').spec.template.spec;
  t.match(volumes, [{ configMap: {} }, { name: 'tls', secret: { secretName: 'moonring-tls' } }]);
  t.match(containers[0].ports, [{ name: 'http' }, { name: 'admin' }, { name: 'https' }]);
  const [open] = of('NetworkPolicy').spec.ingress;
  t.strictSame(open.ports, [{ port: 'http' }, { port: 'https' }]);
});
