import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { parse } from 'yaml';
import { imageConfig, parseDockerfile } from '../../../scripts/container/dockerfile.mjs';
import { resolveConfig } from '../../../src/shared/config.js';
import type { OptionSpec } from '../../../src/shared/option-spec.js';
import { envNamesOf, OPTIONS } from '../../../src/shared/options.js';

/** What the schemas cannot say: that the manifests, the image and the options agree. */

const TREE = fileURLToPath(new URL('../../../deploy/kubernetes/', import.meta.url));
const DOCS = new URL('../../../docs/containers.md', import.meta.url);
const DOCKERFILE = new URL('../../../Dockerfile', import.meta.url);
const ENDING_SECONDS = 5;

const read = (path: string) => parse(readFileSync(TREE + path, 'utf8'));
const deployment = read('base/deployment.yaml');
const service = read('base/service.yaml');
const pod = deployment.spec.template;
const [container] = pod.spec.containers;
const ports = new Map<string, number>(
  container.ports.map((port: { name: string; containerPort: number }) => [
    port.name,
    port.containerPort,
  ]),
);
const env: Record<string, string> = Object.fromEntries(
  container.env.map(({ name, value }: { name: string; value: string }) => [name, value]),
);
const image = parseDockerfile(readFileSync(DOCKERFILE, 'utf8')).at(-1);
if (image === undefined) throw new Error('the Dockerfile has no stage');
const { env: imageEnv } = imageConfig(image);

t.test('kustomize is told of every manifest, and of nothing else', async (t) => {
  for (const directory of ['base', 'monitored']) {
    const { resources } = read(`${directory}/kustomization.yaml`);
    const there = readdirSync(TREE + directory).filter(
      (name) => name.endsWith('.yaml') && name !== 'kustomization.yaml',
    );
    const named = resources.filter((path: string) => !path.startsWith('..'));
    t.strictSame(named.sort(), there.sort(), directory);
  }
});

t.test('every selector means the pods', async (t) => {
  const { labels } = pod.metadata;
  t.strictSame(deployment.spec.selector.matchLabels, labels);
  t.strictSame(service.spec.selector, labels);
  t.strictSame(read('base/pod-disruption-budget.yaml').spec.selector.matchLabels, labels);
  t.strictSame(read('monitored/pod-monitor.yaml').spec.selector.matchLabels, labels);
  const { scaleTargetRef } = read('base/horizontal-pod-autoscaler.yaml').spec;
  const { kind, apiVersion, metadata } = deployment;
  t.strictSame(scaleTargetRef, { kind, apiVersion, name: metadata.name });
});

t.test('every named port is one of the container', async (t) => {
  const probes = ['startupProbe', 'readinessProbe', 'livenessProbe'];
  for (const probe of probes) t.equal(container[probe].httpGet.port, 'admin', probe);
  t.ok(ports.has('admin'));
  for (const { targetPort } of service.spec.ports) t.ok(ports.has(targetPort));
  for (const { port } of read('monitored/pod-monitor.yaml').spec.podMetricsEndpoints) {
    t.ok(ports.has(port));
  }
});

t.test('the volume is the generated ConfigMap, and it holds a handler', async (t) => {
  const { configMapGenerator } = read('base/kustomization.yaml');
  const [volume] = pod.spec.volumes;
  const [mount] = container.volumeMounts;
  t.equal(mount.name, volume.name);
  t.equal(mount.mountPath, container.args[0]);
  t.equal(configMapGenerator[0].name, volume.configMap.name);
  for (const file of configMapGenerator[0].files) t.ok(existsSync(`${TREE}base/${file}`), file);
  t.match(configMapGenerator[0].files, ['app/handler.lua']);
});

t.test('the options exist, and say what the manifest says', async (t) => {
  const known = OPTIONS.flatMap((spec: OptionSpec) => envNamesOf(spec));
  for (const name of Object.keys({ ...imageEnv, ...env })) {
    if (name.startsWith('MOONRING_')) t.ok(known.includes(name), name);
  }
  const inputs = { flags: {}, env: { ...imageEnv, ...env }, file: null, cwd: '/' };
  const { config } = resolveConfig(inputs);
  t.equal(config.port, ports.get('http'));
  t.strictSame(config.host, ['0.0.0.0']);
  t.equal(env['MOONRING_ADMIN'], `0.0.0.0:${ports.get('admin')}`);
  const drainSeconds = (config.drainDelay + config.drainTimeout) / 1000;
  t.ok(pod.spec.terminationGracePeriodSeconds >= drainSeconds + ENDING_SECONDS);
  const { periodSeconds, failureThreshold } = container.readinessProbe;
  t.ok(config.drainDelay / 1000 > periodSeconds * failureThreshold, 'unready before it stops');
});

t.test(
  'a slow start is waited for, a drain is seen at once, a busy pod is not killed',
  async (t) => {
    t.match(container.startupProbe, { periodSeconds: 1, failureThreshold: 60 });
    t.match(container.readinessProbe, { periodSeconds: 2, failureThreshold: 1 });
    t.match(container.livenessProbe, { periodSeconds: 10, timeoutSeconds: 3, failureThreshold: 6 });
    t.equal(container.startupProbe.httpGet.path, '/startupz');
    t.equal(container.livenessProbe.httpGet.path, '/livez');
    t.equal(container.readinessProbe.httpGet.path, '/readyz');
  },
);

t.test('a rollout takes no pod away before another is ready', async (t) => {
  t.strictSame(deployment.spec.strategy.rollingUpdate, { maxUnavailable: 0, maxSurge: 1 });
  t.notOk('replicas' in deployment.spec, 'the autoscaler owns the number');
  const { minReplicas, maxReplicas } = read('base/horizontal-pod-autoscaler.yaml').spec;
  t.ok(minReplicas >= 2 && maxReplicas > minReplicas);
  const { maxUnavailable } = read('base/pod-disruption-budget.yaml').spec;
  t.ok(maxUnavailable < minReplicas, 'one is always left');
});

t.test('docs/containers.md says the numbers that are in the manifests', async (t) => {
  const text = readFileSync(DOCS, 'utf8').replace(/\s+/g, ' ');
  const { terminationGracePeriodSeconds: grace } = pod.spec;
  const [delay, timeout] = ['MOONRING_DRAIN_DELAY', 'MOONRING_DRAIN_TIMEOUT'].map((name) =>
    Number.parseInt(env[name] ?? '', 10),
  );
  const sum = `is ${grace} = \`drain-delay\` ${delay} s + \`drain-timeout\` ${timeout} s + `;
  t.match(text, `${sum}${ENDING_SECONDS} s`);
  t.equal(grace, (delay ?? 0) + (timeout ?? 0) + ENDING_SECONDS);
  const { periodSeconds, failureThreshold } = container.readinessProbe;
  t.equal(failureThreshold, 1);
  t.match(text, `(every ${periodSeconds} s, one failure)`);
  const { averageUtilization } = read('base/horizontal-pod-autoscaler.yaml').spec.metrics[0]
    .resource.target;
  t.match(text, `${averageUtilization} % of the CPU`);
});

t.test('what the Lua states may take is half of the memory limit at most', async (t) => {
  const { config } = resolveConfig({
    flags: {},
    env: { ...imageEnv, ...env },
    file: null,
    cwd: '/',
  });
  const { cpu, memory } = container.resources.limits;
  const limitMib = Number(/^(\d+)Mi$/.exec(memory)?.[1]);
  const stateMib = config.luaMemory / 1024 ** 2;
  const statesMib = Number(cpu) * (1 + config.threads) * stateMib;
  t.ok(statesMib > 0 && statesMib <= limitMib / 2, `${statesMib} of ${limitMib} MiB`);
  const text = readFileSync(DOCS, 'utf8').replace(/\s+/g, ' ');
  t.match(text, `\`MOONRING_LUA_MEMORY\` ${env['MOONRING_LUA_MEMORY']} take ${statesMib} MiB`);
  t.match(text, `of the limit of ${limitMib} MiB`);
});

t.test('docs/containers.md says what the image does by itself', async (t) => {
  const text = readFileSync(DOCS, 'utf8');
  const { config } = resolveConfig({ flags: {}, env: imageEnv, file: null, cwd: '/' });
  t.match(text, `\`${config.host}:${config.port}\``);
  t.match(text, '`127.0.0.1:9464` inside the container');
  const stopSeconds = Number(/docker stop --timeout (\d+)/.exec(text)?.[1]);
  t.ok(stopSeconds > (config.drainDelay + config.drainTimeout) / 1000 + ENDING_SECONDS);
});

t.test('the pod needs no privilege and no writable file', async (t) => {
  t.match(pod.spec.securityContext, { runAsNonRoot: true, runAsUser: 1000 });
  t.equal(pod.spec.securityContext.seccompProfile.type, 'RuntimeDefault');
  t.equal(pod.spec.automountServiceAccountToken, false);
  t.strictSame(container.securityContext, {
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
  });
});
