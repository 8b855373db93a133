/*
 * npm start: sets everything up, then becomes the master. It is the same process on purpose: Ctrl-C
 * and the exit code pass between server and shell without another process in between.
 */
import { runMain } from './lib/setup-error.mjs';
import { setUpPrebuilt, setUpServer } from './setup.mjs';

await runMain(async () => {
  if (!(await setUpPrebuilt())) await setUpServer();
  await import('../dist/master.js');
});
