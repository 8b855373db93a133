// Nanoseconds per request of moonring.router, by the number of routes. See bench/README.md.
//
//   node bench/router.mjs [--routes 1,10,50,200,2000] [--json]
import { join } from 'node:path';
import { BENCH, readOptions, runMain } from './lib/command.mjs';
import { startMoonring } from './lib/servers.mjs';

const KINDS = { one: 'one function', each: 'a function each', hooks: 'hooks, error handler' };

const { values } = readOptions({ routes: '1,10,50,200,2000' });

runMain(async () => {
  const server = await startMoonring(join(BENCH, 'apps/routes.lua'), {
    options: ['--dispatch', 'inline', '--handler-timeout', '0'],
  });
  const results = [];
  try {
    for (const routes of values.routes.split(',').map(Number)) {
      for (const kind of Object.keys(KINDS)) {
        const response = await fetch(`http://127.0.0.1:${server.port}/routes?${routes},${kind}`);
        const ns = Number(await response.text());
        results.push({ routes, kind, ns });
        if (!values.json) console.log(`${routes} routes, ${KINDS[kind]}: ${ns} ns`);
      }
    }
  } finally {
    await server.stop();
  }
  if (values.json) console.log(JSON.stringify(results, null, 2));
});
