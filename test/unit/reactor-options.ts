import type { ReactorOptions } from '../../src/shared/native.js';

/** Options as a master sends them; no two numbers are the same. */
export const reactorOptions: ReactorOptions = {
  index: 3,
  listenFds: [4],
  controlFd: 5,
  app: { kind: 'lua', path: '/srv/app.lua' },
  luaRoot: '/opt/moonring/lua',
  logLevel: 'info',
  maxConnections: 100,
  ringSize: 8192,
  maxBody: 4096,
  maxUrl: 2048,
  maxHeaders: 64,
  headerTimeoutMs: 10_000,
  bodyTimeoutMs: 30_000,
  keepaliveTimeoutMs: 75_000,
  writeTimeoutMs: 31_000,
  handlerTimeoutMs: 30_000,
  workers: 4,
  dispatch: 'auto',
  luaMemory: 268_435_456,
};
