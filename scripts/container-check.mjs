/*
 * Builds the image of the Dockerfile and checks how a container behaves as PID 1: health, signals,
 * reaping, options and exit codes. Uses docker, or podman as root.
 *
 *     node scripts/container-check.mjs
 */
import { spawn } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect, runChecks, until } from './lib/checks.mjs';
import { findEngine } from './lib/engine.mjs';
import { root } from './lib/root.mjs';
import { must } from './lib/run-command.mjs';

const image = 'localhost/moonring-check';
/** Started with all restrictions; only the loopback interface is inside. */
const locked = ['--network', 'none', '--read-only', '--cap-drop', 'ALL'];
const confined = [...locked, '--security-opt', 'no-new-privileges'];

/** Prints the pid, parent and state of every process in the container. */
const listProcesses = `
const { readdirSync, readFileSync } = require('fs');
for (const pid of readdirSync('/proc').filter((name) => /^\\d+$/.test(name))) {
  try {
    const [, state, parent] = readFileSync('/proc/' + pid + '/stat', 'utf8').split(') ')[1]
      .match(/(\\S) (\\d+)/);
    if (Number(pid) !== process.pid) console.log(pid, parent, state);
  } catch {}
}`;

/*
 * A client in the middle of a request, beside so many idle connections that every reactor has some.
 * Prints "half" when they are open, and "idle closed" when the server has closed the idle ones;
 * sends the rest when it reads a line from standard input, and prints the response.
 */
const slowClient = `
const { createConnection } = require('net');
const get = 'GET / HTTP/1.1\\r\\nHost: check\\r\\n\\r\\n';
const post = 'POST /echo HTTP/1.1\\r\\nHost: check\\r\\nContent-Length: 10\\r\\n\\r\\n';
const open = (bytes) => new Promise((resolve) => {
  const socket = createConnection(8080, '127.0.0.1');
  socket.on('error', (error) => console.log(error.message));
  socket.write(bytes);
  socket.once('data', () => resolve(socket.resume()));
});
(async () => {
  const idle = await Promise.all(Array.from({ length: 16 }, () => open(get)));
  const slow = await open(get + post + 'two');
  slow.on('data', (data) => process.stdout.write(data));
  slow.on('close', () => process.exit());
  console.log('half');
  process.stdin.once('data', () => slow.write(' halves'));
  await Promise.all(idle.map((socket) => new Promise((done) => socket.on('close', done))));
  console.log('idle closed');
})();`;

await runChecks(async (check) => {
  const engine = await findEngine();
  const base = 'docker.io/library/node:24-trixie-slim';
  await engine.ensureImage(base, async () => {
    // Debian's Node and npm, and a user with the same name as in the image.
    const debian = await engine.debian(13);
    const packages = 'nodejs npm ca-certificates';
    await engine.buildFrom(
      base,
      `FROM ${debian}
RUN apt-get update && apt-get install -y --no-install-recommends ${packages}
RUN useradd --uid 1000 --create-home node
`,
    );
  });
  await engine.build(image, root);

  const start = async ({ args = [], options = [] } = {}) => {
    const container = await engine.start([...confined, ...options, image, ...args]);
    const said = (message) =>
      until(`the line "${message}"`, async () => {
        const line = (await container.logs())
          .split('\n')
          .find((each) => each.includes(`"msg":"${message}`));
        return line ?? null;
      });
    const get = async (port = 8080) => {
      const script = `fetch('http://127.0.0.1:${port}/').then(async (response) => console.log(response.status, await response.text()))`;
      return (await container.exec(['node', '-e', script])).output;
    };
    const health = async () => (await container.exec(['node', 'dist/master.js', 'health'])).code;
    const processes = async () =>
      (await container.exec(['node', '-e', listProcesses])).stdout
        .trim()
        .split('\n')
        .map((line) => line.split(' '));
    return { ...container, said, get, health, processes };
  };
  /** Runs `use` with a container that is ready, and removes it. */
  const during = async (options, use) => {
    const container = await start(options);
    try {
      await container.said('ready');
      return await use(container);
    } finally {
      await container.remove();
    }
  };

  await check('the image holds no build tools, sources, tests or headers', async () => {
    const paths = ['/usr/bin/gcc', '/usr/bin/cmake', '/usr/include/llhttp.h', 'src', 'native'];
    paths.push('test', 'CMakeLists.txt', '.npmrc');
    paths.push(...['typescript', 'tap', 'node-api-headers'].map((name) => `node_modules/${name}`));
    const script = `for path in ${paths.join(' ')}; do [ ! -e $path ] || echo $path; done`;
    const { output } = await engine.run([
      'run',
      '--rm',
      ...confined,
      '--entrypoint',
      'sh',
      image,
      '-c',
      script,
    ]);
    expect(output === '', output);
  });
  await check('the licences of its parts are in it, and every library', async () => {
    const script =
      "grep -l 'Permission is hereby granted' LICENSE LICENSE.llhttp; ldd build/release/moonring.node";
    const { output } = await engine.run([
      'run',
      '--rm',
      ...confined,
      '--entrypoint',
      'sh',
      image,
      '-c',
      script,
    ]);
    expect(output.startsWith('LICENSE\nLICENSE.llhttp\n'), output);
    expect(output.includes('libluajit') && !output.includes('not found'), output);
  });
  await check('it serves as PID 1, without root, capabilities or a writable root', () =>
    during({}, async (container) => {
      const { output } = await container.exec(['sh', '-c', 'cat /proc/1/status; touch x']);
      expect(/^Uid:\t1000\t/m.test(output), output);
      expect(/^CapEff:\t0+$/m.test(output) && /^CapBnd:\t0+$/m.test(output), output);
      expect(/^NoNewPrivs:\t1$/m.test(output) && output.includes('Read-only'), output);
      expect((await container.said('ready')).includes('"allocator":"jemalloc'), 'no jemalloc');
      const response = await container.get();
      expect(response.startsWith('200 '), response);
      expect((await container.health()) === 0, 'the health command says no');
    }),
  );
  await check('a killed reactor is replaced and leaves no zombie', () =>
    during({}, async (container) => {
      const before = await container.processes();
      const [victim] = before.find(([, parent]) => parent === '1');
      await container.exec(['node', '-e', `process.kill(${victim}, 'SIGKILL')`]);
      await until('as many processes, none of them a zombie', async () => {
        const now = await container.processes();
        const isSound = now.every(([pid, , state]) => pid !== victim && state !== 'Z');
        return isSound && now.length === before.length;
      });
      const response = await container.get();
      expect(response.startsWith('200 '), response);
    }),
  );
  await check('TERM lets an open request finish and ends with 0', () =>
    during({}, async (container) => {
      const slow = await startSlowRequest(container);
      await container.signal('TERM');
      await slow.said('idle closed');
      const response = await slow.finish();
      expect(/^HTTP\/1\.1 200 OK/m.test(response) && response.includes('two halves'), response);
      expect(/^connection: close/im.test(response), response);
      expectCode(await container.exitCode(), 0, await container.logs());
    }),
  );
  await check('a second TERM ends it at once, with 1', () =>
    during({ args: ['--drain-timeout', '1h'] }, async (container) => {
      const slow = await startSlowRequest(container);
      await container.signal('TERM');
      await slow.said('idle closed');
      await container.signal('TERM');
      expectCode(await container.exitCode(), 1, await container.logs());
    }),
  );
  await check('the health command says no while it drains', () =>
    during({ options: ['--env', 'MOONRING_DRAIN_DELAY=10s'] }, async (container) => {
      await container.signal('TERM');
      await container.said('drain begins after the delay');
      expect((await container.health()) !== 0, 'the health command says yes');
      const response = await container.get();
      expect(response.startsWith('200 '), response);
    }),
  );
  for (const [what, variables] of [
    ['another port', { MOONRING_PORT: '9000' }],
    ['another admin address', { MOONRING_ADMIN: '0.0.0.0:9999' }],
    ['three reactors', { MOONRING_PROCESSES: '3' }],
    ['no admin listener', { MOONRING_ADMIN: 'off', MOONRING_PORT: '9001' }],
  ]) {
    const options = Object.entries(variables).flatMap((pair) => ['--env', pair.join('=')]);
    await check(`variables: ${what}`, () =>
      during({ options }, async (container) => {
        const response = await container.get(variables.MOONRING_PORT);
        expect(response.startsWith('200 '), response);
        expect((await container.health()) === 0, 'the health command says no');
        const { processes } = JSON.parse(await container.said('ready'));
        const wanted = Number(variables.MOONRING_PROCESSES ?? processes);
        expect(processes === wanted, `there are ${processes} reactors`);
      }),
    );
  }
  await check(
    'a read-only volume with an app is served; HUP loads new code, not broken code',
    async () => {
      const app = mkdtempSync(join(tmpdir(), 'moonring-app-'));
      chmodSync(app, 0o755);
      const write = (text) => writeFileSync(join(app, 'handler.lua'), text);
      write("function handle(req, res)\n  res:body('before'):send()\nend\n");
      try {
        const options = ['--volume', `${app}:/srv/app:ro`];
        await during({ args: ['/srv/app'], options }, async (container) => {
          expect((await container.get()).includes('before'), 'the app does not answer');
          write("function handle(req, res)\n  res:body('after'):send()\nend\n");
          await container.signal('HUP');
          await container.said('reloaded');
          expect((await container.get()).includes('after'), 'the new code does not answer');
          write('function handle(\n');
          await container.signal('HUP');
          await container.said('reload rejected');
          expect((await container.get()).includes('after'), 'the good code is gone');
        });
      } finally {
        rmSync(app, { recursive: true });
      }
    },
  );
  for (const [code, what, options] of [
    [2, 'an unknown flag', { args: ['--no-such-flag'] }],
    [2, 'a bad variable', { options: ['--env', 'MOONRING_PORT=eighty'] }],
    [78, 'a missing app', { args: ['/app/none.lua'] }],
    [69, 'an address of another machine', { options: ['--env', 'MOONRING_HOST=192.0.2.1'] }],
    [0, 'a configuration check', { args: ['--check', 'examples/hello.lua'] }],
  ]) {
    await check(`${what} ends with ${code}`, async () => {
      const container = await start(options);
      expectCode(await container.exitCode(), code, await container.logs());
      await container.remove();
    });
  }
  await check('the image of a service that moonring init has written', () =>
    tryService(engine, 'localhost/moonring-service-check'),
  );
});

/**
 * With this package and the platform packages in packages/; if there is none for this machine,
 * the image build compiles the addon.
 */
async function tryService(engine, name) {
  const directory = mkdtempSync(join(tmpdir(), 'moonring-service-'));
  try {
    await must('node', ['dist/master.js', 'init', directory]);
    await must('npm', ['pack', '--ignore-scripts', '--pack-destination', directory]);
    const packages = join(root, 'packages');
    const built = existsSync(packages) ? readdirSync(packages) : [];
    for (const file of built.filter((each) => /^moonring-linux-.*\.tgz$/.test(each))) {
      copyFileSync(join(packages, file), join(directory, file));
    }
    const path = join(directory, 'package.json');
    const manifest = JSON.parse(readFileSync(path, 'utf8'));
    for (const file of readdirSync(directory).filter((each) => each.endsWith('.tgz'))) {
      const [, platform] = /^moonring-(?:(linux-.*)-)?\d+\.\d+\.\d+.*\.tgz$/.exec(file);
      const fields =
        platform === undefined
          ? ['dependencies', 'moonring']
          : ['optionalDependencies', `@moonring/${platform}`];
      manifest[fields[0]] = { ...manifest[fields[0]], [fields[1]]: `file:${file}` };
    }
    writeFileSync(path, JSON.stringify(manifest));
    await engine.build(name, directory);
    const container = await engine.start([...confined, name]);
    try {
      await until('the ready line', async () => (await container.logs()).includes('"msg":"ready"'));
      const script =
        "fetch('http://127.0.0.1:8080/hello/ann').then(async (response) => console.log(await response.text()))";
      const greeting = (await container.exec(['node', '-e', script])).output;
      expect(greeting === '{"message":"hello, ann"}\n', greeting);
      const health = ['node_modules/.bin/moonring', 'health', '--config', 'moonring.json'];
      expectCode((await container.exec(health)).code, 0, 'health');
      await container.signal('TERM');
      expectCode(await container.exitCode(), 0, await container.logs());
    } finally {
      await container.remove();
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Runs the slow client in the container; see above. */
async function startSlowRequest(container) {
  const [first, ...rest] = [...container.command, 'node', '-e', slowClient];
  const child = spawn(first, rest, {
    env: { ...process.env, ...container.env },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (data) => {
    text += data;
  });
  const ended = new Promise((resolve) => child.on('close', resolve));
  child.stdin.on('error', () => {});
  const said = (line) => until(`the client's line "${line}"`, () => text.includes(`${line}\n`));
  await said('half');
  return {
    said,
    finish: async () => {
      child.stdin.write('\n');
      await ended;
      return text;
    },
  };
}

function expectCode(seen, wanted, output) {
  expect(seen === wanted, `ended with ${seen}, not ${wanted}\n${output}`);
}
