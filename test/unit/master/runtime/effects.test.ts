import { EventEmitter, once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { type EffectsInputs, runSupervisor } from '../../../../src/master/runtime/effects.js';
import { initialState } from '../../../../src/master/supervisor/state.js';
import { PROTOCOL_VERSION } from '../../../../src/shared/messages.js';
import { SETTINGS } from '../supervisor/driver.js';

const open = () => openSync('/dev/null', 'r+');

/** The parts of the addon, the log and the resources that one reactor process needs. */
function inputsFor(script: string, onLog: (message: string) => void, onEnd: () => void) {
  const native = {
    socketPair: () => [open(), open()],
    sendDescriptor: () => {
      throw new Error('ETOOMANYREFS');
    },
    closeDescriptor: (fd: number) => fd > 2 && closeSync(fd),
    monotonicMs: () => 0,
    statsLayout: { connectionStates: [] },
  };
  const inherited = {
    listenFds: [],
    controlFd: open(),
    statsFd: open(),
    inboxFd: open(),
    sharedFds: [],
  };
  const log = { log: (_level: string, _fields: object, message: string) => onLog(message) };
  const resources = {
    inheritedBy: () => inherited,
    stats: {
      read: () => ({ takenMs: 0, slots: [] }),
      readMetrics: () => [],
      readServing: () => [],
      resetSide: () => {},
    },
    topics: { resetSide: () => {} },
    boss: { setUp: () => {} },
    certificates: { fd: () => null, onChange: () => {} },
    closeListeners: () => {},
  };
  const hooks = {
    onReady: () => {},
    onStopping: () => {},
    onReloaded: () => {},
    onExited: () => {},
    onEnd,
  };
  return { native, log, resources, script, reactorEnv: {}, livenessGraceMs: 0, hooks };
}

t.test('a reactor that does not get the files of the app is replaced', async (t) => {
  const hello = `{ type: 'hello', protocol: ${PROTOCOL_VERSION}, pid: process.pid }`;
  const script = join(
    t.testdir({ 'reactor.mjs': `process.send(${hello}); process.on('message', () => {});` }),
    'reactor.mjs',
  );
  const messages: string[] = [];
  const seen = new EventEmitter();
  const inputs = inputsFor(
    script,
    (message) => {
      messages.push(message);
      seen.emit(message);
    },
    () => seen.emit('end'),
  );
  const first = initialState({ ...SETTINGS, appFd: open() }, 1);
  const supervisor = runSupervisor(first, inputs as unknown as EffectsInputs);
  supervisor.dispatch({ type: 'boot' });
  await once(seen, 'reactor crashed');
  const end = once(seen, 'end');
  supervisor.dispatch({ type: 'order', order: { type: 'stop' } });
  await end;
  t.strictSame(messages.slice(0, 2), [
    'cannot pass the files of the app to a reactor',
    'reactor crashed',
  ]);
  t.equal(supervisor.state().restarts.signal + supervisor.state().restarts.start, 1);
});
