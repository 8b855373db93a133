// Nanoseconds per call of moonring.metrics, moonring.crypto and moonring.log. See bench/README.md.
//
//   node bench/calls.mjs [--only counter,labels] [--json]
import { join } from 'node:path';
import { BENCH, readOptions, runMain } from './lib/command.mjs';
import { startMoonring } from './lib/servers.mjs';

const CALLS = {
  counter: 'counter:inc()',
  labels: 'counter:inc(1, two labels)',
  gauge: 'gauge:set(n)',
  histogram: 'histogram:observe(n)',
  sha256: 'crypto.sha256, 64 bytes',
  hmac: 'crypto.hmac with SHA-256, base64url',
  uuid: 'crypto.uuid7()',
  log: 'log.info, two fields',
  log_off: 'log.debug below the level',
};

const { values } = readOptions({ only: '' });

runMain(async () => {
  const server = await startMoonring(join(BENCH, 'apps/calls.lua'), {
    options: [
      '--dispatch',
      'inline',
      '--handler-timeout',
      '0',
      '--log-level',
      'info',
      '--log-file',
      '/dev/null',
    ],
  });
  const names = values.only ? values.only.split(',') : Object.keys(CALLS);
  const results = {};
  try {
    for (const name of names) {
      const response = await fetch(`http://127.0.0.1:${server.port}/calls?${name}`);
      results[name] = Number(await response.text());
      if (!values.json) console.log(`${CALLS[name]}: ${results[name]} ns`);
    }
  } finally {
    await server.stop();
  }
  if (values.json) console.log(JSON.stringify(results, null, 2));
});
