import { readFileSync } from 'node:fs';
import t from 'tap';
import {
  imageConfig,
  parseCopy,
  parseDockerfile,
  parseEnv,
  parseExecForm,
  readDockerignore,
} from '../../../scripts/container/dockerfile.mjs';

const text = readFileSync(new URL('../../../Dockerfile', import.meta.url), 'utf8');

t.test('our Dockerfile can be read whole', async (t) => {
  const [build, image, ...more] = parseDockerfile(text);
  t.equal(more.length, 0);
  t.equal(build?.name, 'build');
  t.match(build?.base, /^node:\d+-trixie-slim$/);
  t.equal(image?.base, build?.base);
  if (image === undefined) return;
  t.match(imageConfig(image), {
    user: 'node',
    port: Number,
    stopSignal: 'SIGTERM',
    env: { MOONRING_HOST: '0.0.0.0' },
    entrypoint: ['node', 'dist/master.js'],
    health: ['node', 'dist/master.js', 'health'],
  });
});

t.test('continued lines are one step, comments are none', async (t) => {
  const [stage] = parseDockerfile('FROM a AS b\n# no\nRUN x \\\n# nor this\n && y\n');
  t.strictSame(stage?.instructions, [{ keyword: 'RUN', text: 'x   && y' }]);
});

t.test('what the check could not execute is refused', async (t) => {
  t.throws(() => parseDockerfile('FROM a\nADD x y'), { message: 'ADD x y' });
  t.throws(() => parseDockerfile('RUN x'), { message: 'before FROM' });
  t.throws(() => parseDockerfile(''), { message: 'no FROM' });
  t.throws(() => parseCopy('--chown=1:1 a b'));
  t.throws(() => parseCopy('*.json ./'));
  t.throws(() => parseCopy('a b c'));
  t.throws(() => parseEnv('A="b c"'));
  t.throws(() => parseExecForm('node dist/master.js'));
});

t.test('COPY and ENV', async (t) => {
  t.strictSame(parseCopy('--from=build /a ./b'), { from: 'build', sources: ['/a'], target: './b' });
  t.strictSame(parseCopy('a b ./'), { from: null, sources: ['a', 'b'], target: './' });
  t.strictSame(parseEnv('A=1 B=x=y'), { A: '1', B: 'x=y' });
});

t.test('the last pattern of .dockerignore that names a path decides', async (t) => {
  const isSent = readDockerignore('# all\n*\n!src\n!a.json\nsrc/secret\n');
  t.ok(isSent('src'));
  t.ok(isSent('src/master/run.ts'));
  t.ok(isSent('a.json'));
  t.notOk(isSent('src/secret'));
  t.notOk(isSent('srcs'));
  t.notOk(isSent('node_modules/x'));
  t.throws(() => readDockerignore('*.log'));
});
