import { mock } from 'node:test';
import t from 'tap';
import {
  inheritedListeners,
  serviceManager,
} from '../../../../src/master/runtime/service-manager.js';

t.test('descriptors from 3 on with their names, if LISTEN_PID is this process', async (t) => {
  const both = [
    { fd: 3, name: '' },
    { fd: 4, name: '' },
  ];
  t.strictSame(inheritedListeners({ LISTEN_FDS: '2', LISTEN_PID: '7' }, 7), both);
  const named = { LISTEN_FDS: '2', LISTEN_PID: '7', LISTEN_FDNAMES: 'http:admin' };
  t.match(inheritedListeners(named, 7), [{ name: 'http' }, { name: 'admin' }]);
  t.strictSame(inheritedListeners({ LISTEN_FDS: '2', LISTEN_PID: '8' }, 7), []);
  t.strictSame(inheritedListeners({ LISTEN_FDS: '2' }, 7), []);
  for (const count of ['', '0', '-1', 'x', '1.5', '65']) {
    t.strictSame(inheritedListeners({ LISTEN_FDS: count, LISTEN_PID: '7' }, 7), [], count);
  }
});

function managed(env: Record<string, string>, fails = false) {
  const told: string[] = [];
  const logged: string[] = [];
  const native = {
    notify: (path: string, text: string) => {
      if (fails) throw new Error('ENOENT');
      told.push(`${path} ${text}`);
    },
    monotonicMs: () => 1234.5678,
  };
  const log = (_level: string, _fields: object, message: string) => logged.push(message);
  return { service: serviceManager({ native, env, pid: 7, log }), told, logged };
}

t.test('each state is reported once, a reload with its start time', async (t) => {
  const { service, told } = managed({ NOTIFY_SOCKET: 's' });
  service.reloaded();
  service.reloading();
  t.strictSame(told, [], 'not before it is ready');
  service.ready();
  service.reloading();
  service.reloaded();
  service.reloaded();
  service.reloading();
  service.stopping();
  service.stopping();
  service.reloaded();
  t.strictSame(told, [
    's READY=1',
    's RELOADING=1\nMONOTONIC_USEC=1234568',
    's READY=1',
    's RELOADING=1\nMONOTONIC_USEC=1234568',
    's STOPPING=1',
  ]);
});

t.test('without a socket nothing is reported; a failure is logged', async (t) => {
  const silent = managed({ WATCHDOG_USEC: '10000' });
  silent.service.ready();
  silent.service.watch(() => true);
  t.strictSame(silent.told, []);
  const broken = managed({ NOTIFY_SOCKET: 's' }, true);
  broken.service.ready();
  t.match(broken.logged, [/could not be notified/]);
});

t.test('the watchdog is notified while the server lives, at half of its interval', async (t) => {
  mock.timers.enable({ apis: ['setInterval'] });
  t.teardown(() => mock.timers.reset());
  const env = { NOTIFY_SOCKET: 's', WATCHDOG_USEC: '2000000', WATCHDOG_PID: '7' };
  let alive = true;
  const { service, told } = managed(env);
  service.watch(() => alive);
  mock.timers.tick(2000);
  t.equal(told.length, 3);
  t.equal(told[0], 's WATCHDOG=1');
  alive = false;
  mock.timers.tick(5000);
  t.equal(told.length, 3, 'not of one whose reactors are all stuck');
  alive = true;
  mock.timers.tick(1000);
  t.equal(told.length, 4);
  service.close();
  mock.timers.tick(5000);
  t.equal(told.length, 4);
});

t.test('without a watchdog, or with one for another process, nothing is sent', async (t) => {
  for (const more of [
    {},
    { WATCHDOG_USEC: '0' },
    { WATCHDOG_USEC: '9', WATCHDOG_PID: '8' },
    { WATCHDOG_USEC: 'x' },
  ]) {
    const { service, told } = managed({ NOTIFY_SOCKET: 's', ...more });
    service.watch(() => true);
    t.strictSame(told, [], JSON.stringify(more));
  }
});
