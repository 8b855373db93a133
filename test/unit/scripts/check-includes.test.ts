import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import t from 'tap';

const broken = {
  'native/include/httpserver.h': '#include <sys/socket.h>\n',
  'native/src/http/hs_parse.h': '/* #include "conn/x.h" */\n#include "conn/hs_conn.h"\n',
  'native/src/exec/hs_req.h': '#include "hs_handler.h"\n#include "base/hs_err.h"\n',
  'native/src/conn/hs_conn.h': '#include <llhttp.h>\n#include "exec/hs_req.h"\n',
  'native/src/conn/hs_pool.c': '#include "httpserver.h"\n',
  'native/binding/addon.h': '#include <uv.h>\n#include "exec/hs_req.h"\n',
  'native/CMakeLists.txt': 'add_library(core src/conn/hs_conn.c)\n',
};

t.test('includes of higher floors or reserved headers are reported', async (t) => {
  const top = t.testdir();
  for (const [path, text] of Object.entries(broken)) {
    mkdirSync(dirname(join(top, path)), { recursive: true });
    writeFileSync(join(top, path), text);
  }
  const { status, stdout } = spawnSync(
    process.execPath,
    ['scripts/check-includes.mjs', top],
    // tap would load itself into the child through NODE_OPTIONS.
    { encoding: 'utf8', env: {} },
  );
  t.same(
    stdout
      .split('\n')
      .map((line) => line.split(': ')[0])
      .sort(),
    [
      '',
      'native/binding/addon.h:1',
      'native/binding/addon.h:2',
      'native/include/httpserver.h:1',
      'native/src/conn/hs_conn.h:1',
      'native/src/conn/hs_pool.c',
      'native/src/exec/hs_req.h:1',
      'native/src/http/hs_parse.h:2',
    ],
  );
  t.equal(status, 1);
});
