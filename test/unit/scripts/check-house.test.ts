import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import t from 'tap';

const root = join(dirname(fileURLToPath(import.meta.url)), '../../..');

interface Verdict {
  readonly status: number | null;
  readonly violations: readonly string[];
}

/**
 * Runs check-house on a tree of its own. A `~` in a fixture is taken out: it splits what the house
 * would otherwise find in this file.
 */
function checkHouse(top: string, files: Readonly<Record<string, string>>): Verdict {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(top, path)), { recursive: true });
    writeFileSync(join(top, path), content.replaceAll('~', ''));
  }
  const script = join(root, 'scripts/check-house.mjs');
  // An empty environment, because tap would load itself into the child by NODE_OPTIONS.
  const { status, stdout } = spawnSync(process.execPath, [script, top], {
    encoding: 'utf8',
    env: {},
  });
  // Without the closing line; a violation without its sentence, which is for people.
  const lines = stdout.trimEnd().split('\n').slice(0, -1);
  return { status, violations: lines.map((line) => line.split(': ').slice(0, 2).join(': ')) };
}

t.test('a tree that keeps the plan passes', async (t) => {
  const verdict = checkHouse(t.testdir(), {
    'native/include/httpserver.h': '#include <stdint.h>\n',
    'native/src/base/hs_alloc.h': '#include <stdlib.h>\nvoid *f(void) { return malloc(1); }\n',
    'native/src/os/hs_sock.c': '#include <sys/socket.h>\n#ifdef __linux__\n#endif\n',
    'native/src/http/hs_parse.c': '#include "base/hs_alloc.h"\n#include <llhttp.h>\n',
    'native/src/exec/hs_lua.c': '#include "httpserver.h"\n#include <lua.h>\n',
    'native/binding/addon.cc':
      '#include "config_from_js.h"\n#include <napi.h>\n#include <string>\n',
    'native/binding/config_from_js.h': '#include "httpserver.h"\n',
    'src/master.ts': "import { run } from './master/run.js';\nrun(process.argv);\n",
    'src/master/run.ts': "import { fork } from './reactor-process.js';\nexport const run = fork;\n",
    'src/master/reactor-process.ts': "export { fork } from 'node:child_process';\n",
    'src/master/backoff.ts': '// Not even setTimeout.\nexport const text = "Date.now";\n',
    'src/shared/native.ts': "import { createRequire } from 'node:module';\n",
  });
  t.same(verdict, { status: 0, violations: [] });
});

const broken: readonly (readonly [string, Readonly<Record<string, string>>, readonly string[]])[] =
  [
    [
      'an include that goes up',
      { 'native/src/http/hs_parse.c': '\n#include "conn/hs_conn.h"\n' },
      ['native/src/http/hs_parse.c:2: floors'],
    ],
    [
      'a reserved header',
      {
        'native/src/conn/hs_conn.c':
          '#include <llhttp.h>\n#include <sys/socket.h>\n#include "lua.h"\n',
      },
      [
        'native/src/conn/hs_conn.c:3: floors',
        'native/src/conn/hs_conn.c:1: reserved-headers',
        'native/src/conn/hs_conn.c:2: reserved-headers',
        'native/src/conn/hs_conn.c:3: reserved-headers',
      ],
    ],
    [
      'includes that go round',
      {
        'native/src/data/hs_a.h': '#include "data/hs_b.h"\n',
        'native/src/data/hs_b.h': '#include "hs_a.h"\n',
      },
      ['native/src/data/hs_b.h:1: floors', 'native/src/data/hs_b.h:1: include-cycle'],
    ],
    [
      'a binding that looks inside',
      { 'native/binding/addon.cc': '#include "os/hs_sock.h"\n#include <uv.h>\n' },
      ['native/binding/addon.cc:1: binding-sight', 'native/binding/addon.cc:2: binding-sight'],
    ],
    [
      'a public header that includes more than the C library',
      { 'native/include/httpserver.h': '#include "base/hs_base.h"\n' },
      ['native/include/httpserver.h:1: public-header'],
    ],
    [
      'a source that CMake does not know',
      {
        'native/CMakeLists.txt': 'src/data/hs_a.c\n',
        'native/src/data/hs_a.c': '\n',
        'native/src/data/hs_b.c': '\n',
      },
      ['native/src/data/hs_b.c:1: listed-source'],
    ],
    [
      'names that belong to another floor',
      {
        'native/src/exec/hs_req.c': [
          '/* malloc() in a comment */',
          'void *a = malloc(1);',
          'void b(void) { je_free(a); clock_gettime(0, 0); }',
          '#ifdef __linux__',
          'int c __attribute__((weak));',
          'void d(void) { table->free(table, "malloc(1)"); }',
        ].join('\n'),
      },
      [
        'native/src/exec/hs_req.c:2: allocator',
        'native/src/exec/hs_req.c:3: jemalloc',
        'native/src/exec/hs_req.c:3: clock',
        'native/src/exec/hs_req.c:4: platform',
        'native/src/exec/hs_req.c:5: weak',
      ],
    ],
    [
      'imports that cross the house',
      {
        'src/shared/config.ts': "import { run } from '../master/run.js';\n",
        'src/master/run.ts': "import type { Step } from '../reactor/lifecycle.js';\n",
        'src/reactor/run.ts': "const later = import('../master/run.js');\n",
        'src/index.ts': "import './master.js';\n",
        'src/reactor/channel.ts': "export * from '../index.js';\n",
      },
      [
        'src/index.ts:1: import-direction',
        'src/master/run.ts:1: import-direction',
        'src/reactor/channel.ts:1: import-direction',
        'src/reactor/run.ts:1: import-direction',
        'src/shared/config.ts:1: import-direction',
      ],
    ],
    [
      'TypeScript that does what another file is for',
      {
        'src/reactor/run.ts':
          "import { createRequire } from 'node:module';\nprocess.exitCode = 1;\n",
        'src/master/run.ts':
          "import cluster from 'node:cluster';\nif (process.exitCode === 1) {}\n",
        'src/master/supervisor.ts': "import fs from 'node:fs';\nconst now = Date.now();\n",
      },
      [
        'src/reactor/run.ts:1: addon-loader',
        'src/master/run.ts:1: process-owner',
        'src/reactor/run.ts:2: entries',
        'src/master/supervisor.ts:1: pure-files',
        'src/master/supervisor.ts:2: pure-files',
      ],
    ],
    [
      'TypeScript that hides names and types',
      {
        'src/shared/a.ts': [
          'export default function (x: any) {}',
          'const many: Record<string, any> = {};',
          'const any: string = "as any";',
        ].join('\n'),
      },
      ['src/shared/a.ts:1: default-export', 'src/shared/a.ts:1: any', 'src/shared/a.ts:2: any'],
    ],
    [
      'things that are too large',
      {
        'native/src/data/hs_ring.h': '\n'.repeat(501),
        'src/shared/config.ts': `function f() {\n${'\n'.repeat(69)}}\n`,
        'native/src/data/hs_buf.h': `int f(void)\n{\n${'\n'.repeat(69)}}\n`,
        'lua/moonring/json.lua': `-- ${'x'.repeat(98)}\n`,
        'src/shared/text.ts': `export const help = '${'x'.repeat(120)}';\n// ${'y'.repeat(98)}\n`,
      },
      [
        'native/src/data/hs_ring.h:501: file-length',
        'native/src/data/hs_buf.h:2: function-length',
        'src/shared/config.ts:1: function-length',
        'lua/moonring/json.lua:1: line-length',
        'src/shared/text.ts:2: line-length',
      ],
    ],
    [
      'words that are not used',
      {
        'src/shared/string-utils.ts': '\n',
        'test/e2e/start.test.ts': 'await sl~eep(5);\nconst port = 80~80;\nspawn("p~kill");\n',
        'test/unit/cli.test.ts': 'const defaultPort = 80~80;\n',
        'package-lock.json': '"resol~ved": "http://registry/"\n',
        'docs/operations.md': 'See /wo~rk/notes.\nAs iss~ue 12 says.\nOnly /workers and #1 stay.\n',
      },
      [
        'src/shared/string-utils.ts:1: empty-name',
        'test/e2e/start.test.ts:1: sleep',
        'test/e2e/start.test.ts:2: fixed-port',
        'test/e2e/start.test.ts:3: kill-by-name',
        'package-lock.json:1: lock-file',
        'docs/operations.md:1: machine-path',
        'docs/operations.md:2: issue-number',
      ],
    ],
  ];

for (const [what, files, violations] of broken) {
  t.test(`${what} is found`, async (t) => {
    t.same(checkHouse(t.testdir(), files), { status: 1, violations });
  });
}
