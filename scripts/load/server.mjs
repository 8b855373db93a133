import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

import { root } from '../lib/root.mjs';
import { SetupError } from '../lib/setup-error.mjs';

const startTimeoutMs = 20_000;
const stopTimeoutMs = 60_000;

/**
 * Starts the built server and waits for its ready line. The operator's MOONRING_ variables are
 * not passed on.
 *
 * @param {string[]} args
 */
export async function startServer(args) {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^(PORT|HOST|WEB_CONCURRENCY|NODE_OPTIONS|MOONRING_.*|_?TAP.*)$/.test(name),
    ),
  );
  const child = spawn(process.execPath, ['dist/master.js', ...args], {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const lines = [];
  const exited = new Promise((resolve) => {
    child.on('exit', (code, signal) => resolve({ code, signal }));
  });
  createInterface({ input: child.stderr }).on('line', (line) => lines.push(line));
  const ready = await new Promise((resolve, reject) => {
    const fail = (why) => reject(new SetupError(`the server ${why}:\n${lines.join('\n')}`));
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      fail('was not ready in time');
    }, startTimeoutMs);
    exited.then(() => {
      clearTimeout(timer);
      fail('did not start');
    });
    createInterface({ input: child.stdout }).on('line', (line) => {
      lines.push(line);
      if (!line.includes('"msg":"ready"')) return;
      clearTimeout(timer);
      resolve(JSON.parse(line));
    });
  });
  return {
    args,
    ready,
    pid: child.pid,
    lines,
    exited,
    signal: (name) => child.kill(name),
    stop: () => stop(child, exited),
  };
}

/** Sends TERM and waits for the exit; then KILL. */
async function stop(child, exited) {
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs);
  const exit = await exited;
  clearTimeout(timer);
  return exit;
}
