import t from 'tap';
import { buildAddon } from '../../../../src/master/cli/addon-build.js';

t.test('the result of the build is the exit code of its script', async (t) => {
  const root = t.testdir({
    good: { scripts: { 'build-addon.mjs': '' } },
    bad: { scripts: { 'build-addon.mjs': 'process.exit(1)' } },
    killed: { scripts: { 'build-addon.mjs': "process.kill(process.pid, 'SIGKILL')" } },
    image: {},
  });
  const refused = { code: 'ERR_MOONRING_ADDON', message: /was not built: see the lines above/ };
  await t.resolves(buildAddon(`${root}/good`));
  await t.rejects(buildAddon(`${root}/bad`), refused);
  await t.rejects(buildAddon(`${root}/killed`), refused);
  await t.rejects(buildAddon(`${root}/image`), {
    code: 'ERR_MOONRING_ADDON',
    message: /image\/scripts\/build-addon\.mjs does not exist: this copy has no sources/,
  });
});
