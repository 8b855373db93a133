import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect } from '../lib/check-list.mjs';
import { startContainer } from './container.mjs';

/*
 * What a user of the image adds to it: an app as an argument or as a volume, and variables. Each
 * check starts containers of its own.
 */

const handlerSaying = (text) => `function handle(req, res)\n  res:body('${text}'):send()\nend\n`;

export const optionChecks = [
  {
    name: "an app's path after the image's name is served",
    run: ({ image }) =>
      withContainer(image, { args: ['examples/hello.lua'] }, async (container) => {
        expectAnswer(container, image.config.port, 'hello');
      }),
  },
  {
    name: 'a folder of handlers as a read-only volume is served, and HUP brings their new code',
    run: ({ image }) =>
      withApp(handlerSaying('before'), (app) => {
        const options = { args: ['/srv/app'], volumes: { '/srv/app': app.directory } };
        return withContainer(image, options, async (container) => {
          expectAnswer(container, image.config.port, 'before');
          app.write(handlerSaying('after'));
          container.signal('SIGHUP');
          await container.logLine('reloaded');
          expectAnswer(container, image.config.port, 'after');
        });
      }),
  },
  {
    name: 'HUP with broken code changes nothing, and says why',
    run: ({ image }) =>
      withApp(handlerSaying('good'), (app) => {
        const options = { args: ['/srv/app'], volumes: { '/srv/app': app.directory } };
        return withContainer(image, options, async (container) => {
          app.write('function handle(\n');
          container.signal('SIGHUP');
          await container.logLine('reload rejected: the old generation keeps serving');
          expectAnswer(container, image.config.port, 'good');
        });
      }),
  },
  ...[
    ['another port', { MOONRING_PORT: '9000' }],
    ['another admin address', { MOONRING_ADMIN: '0.0.0.0:9999' }],
    ['no admin listener', { MOONRING_ADMIN: 'off', MOONRING_PORT: '9001' }],
  ].map(([what, env]) => ({
    name: `the health command knows the variables: ${what}`,
    run: ({ image }) =>
      withContainer(image, { env }, async (container) => {
        expectAnswer(container, env.MOONRING_PORT ?? image.config.port, 'hello');
        expectHealth(container, image, 0);
      }),
  })),
  {
    name: 'the health command says no while it drains',
    run: ({ image }) =>
      withContainer(image, { env: { MOONRING_DRAIN_DELAY: '10s' } }, async (container) => {
        expectHealth(container, image, 0);
        container.signal(image.config.stopSignal);
        await container.logLine('drain begins after the delay');
        expectHealth(container, image, 1);
        // Not ready is not refused: who still comes is served.
        expectAnswer(container, image.config.port, 'hello');
      }),
  },
];

async function withContainer(image, options, use) {
  const container = startContainer(image, options);
  try {
    await container.logLine('ready');
    await use(container);
  } finally {
    container.kill();
    await container.exited;
  }
}

/** A folder with one handler, which the image's user may read. */
async function withApp(code, use) {
  const directory = mkdtempSync(join(tmpdir(), 'moonring-app-'));
  chmodSync(directory, 0o755);
  const write = (text) => writeFileSync(join(directory, 'handler.lua'), text);
  try {
    write(code);
    await use({ directory, write });
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function expectAnswer(container, port, text) {
  const answer = container.get(`http://127.0.0.1:${port}/`);
  expect(answer.startsWith('HTTP/1.1 200 OK') && answer.includes(text), answer);
}

function expectHealth(container, image, code) {
  const { status, stdout, stderr } = container.exec(image.config.health);
  expect(status === code, `code ${status}: ${stdout}${stderr}`);
}
