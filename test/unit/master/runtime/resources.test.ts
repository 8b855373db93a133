import t from 'tap';
import type { Listeners } from '../../../../src/master/runtime/listeners.js';
import { openResources } from '../../../../src/master/runtime/resources.js';
import type { NativeAddon } from '../../../../src/shared/native.js';

const SLOTS = 16;

/** Descriptors are numbers invented here: `open` has those that were not closed. */
function imitation(mostListeners: number) {
  const open = new Set<number>();
  let next = 100;
  const take = () => {
    open.add(++next);
    return next;
  };
  let joined = 0;
  const native = {
    StatsPage: class {
      readonly fd = 3;
      close() {}
    },
    Boss: class {
      readonly inboxFds = Array.from({ length: SLOTS }, () => 4);
      start() {}
      stop() {}
      closeListeners() {}
    },
    Topics: class {
      readonly fds = [6, 7];
      close() {}
    },
    socketPair: () => [4, 5],
    joinTcpListeners: () => {
      if (++joined > mostListeners) throw Object.assign(new Error('no'), { code: 'EMFILE' });
      return take();
    },
    closeDescriptor: (fd: number) => open.delete(fd),
  };
  // The parts of the addon that this module needs.
  return { open, take, native: native as unknown as NativeAddon };
}

t.test('listeners opened for a scale-up that fails are closed again', async (t) => {
  const { open, take, native } = imitation(2);
  const listeners: Listeners = {
    tcp: [{ fds: [take()], host: '127.0.0.1', port: 80 }],
    sharedFds: [],
    tlsPort: null,
    addresses: [{ type: 'tcp', host: '127.0.0.1', port: 80 }],
    removeSocketFile: () => {},
    admin: [],
  };
  const config = {
    bossPolicy: 'round-robin',
    backlog: 16,
    shared: [],
    topics: 4_194_304,
    dev: false,
  } as const;
  const accept = 'reuseport';
  const resources = openResources({
    native,
    listeners,
    accept,
    config,
    processes: 1,
    certificates: null,
  });
  t.equal(open.size, 1);
  t.throws(() => resources.makeRoom(4), /cannot listen/);
  t.equal(open.size, 1, 'those that were opened for it are closed again');
  t.strictSame(resources.inheritedBy(0).listenFds, [101], 'the one that serves is left alone');
});
