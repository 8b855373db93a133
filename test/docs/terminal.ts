import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Test } from 'tap';
import { childrenOf, isRunning } from '../e2e/process-table.js';
import { cleanEnvironment } from '../e2e/server.js';
import { PATIENCE_MS, until, within } from '../e2e/until.js';

const START_TIMEOUT_MS = 2 * PATIENCE_MS;
/** A terminal without new output for this long is considered idle. */
const REST_MS = 500;
const CONTROL_C = '\x03';

/** A terminal with a server in the foreground. */
export interface ServerTerminal {
  /** Its port as written on the page. */
  readonly documentedPort: string;
  readonly pid: number;
  readonly port: number;
  /** host:port of the admin listener, `''` without one. */
  readonly admin: string;
  readonly output: () => string;
  readonly isOver: () => boolean;
  /** Presses Ctrl-C. */
  readonly interrupt: () => void;
  /** The exit code as seen by the shell in the terminal. */
  readonly exited: Promise<number>;
}

/** Whether a command is a server that runs until it is stopped. */
export function startsServer(command: string): boolean {
  if (/^npm (start|run dev)\b/.test(command)) return true;
  const words = /^node dist\/master\.js\b(.*)$/s.exec(command)?.[1];
  return (
    words !== undefined &&
    !/ (--check|--help|--version|health|ctl|top)\b|^ (test|init|routes|completion) /.test(words)
  );
}

/**
 * Runs `command` in a new terminal (a pseudo-terminal, by script(1)) and waits until the
 * server is ready. Ports on the page are replaced by ports that the system chooses.
 */
export async function openServerTerminal(
  t: Test,
  command: string,
  cwd: string,
): Promise<ServerTerminal> {
  const documentedPort = /--port (\d+)/.exec(command)?.[1] ?? '8080';
  const typed = command
    .replace(/--port \d+/, '--port 0')
    .replace(/\b(localhost|127\.0\.0\.1):\d{4}\b/g, '127.0.0.1:0');
  const env = {
    ...cleanEnvironment(),
    ...{ MOONRING_PORT: '0', MOONRING_ADMIN: '127.0.0.1:0', NO_COLOR: '1', SHELL: '/bin/sh' },
    // npm's spinner, which it erases again.
    NPM_CONFIG_PROGRESS: 'false',
  };
  // `exec`: Ctrl-C would kill a shell in between, and the exit code must be the server's.
  const child = spawn('script', ['-qefc', `exec ${typed}`, '/dev/null'], { cwd, env });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk.replaceAll('\r', '');
  });
  child.stdin.on('error', () => {});
  const exited = once(child, 'exit').then(([code]) => Number(code ?? -1));
  let isOver = false;
  void exited.then(() => (isOver = true));
  let master = 0;
  const endNow = () => killAll(child.pid ?? 0, master);
  // The runner kills a test that takes too long; processes in another terminal would remain.
  process.once('SIGTERM', endNow);
  t.teardown(async () => {
    process.off('SIGTERM', endNow);
    endNow();
    await within('the end of the terminal', exited);
  });

  const line = await until(
    `"${command}" is ready`,
    () => {
      if (isOver) throw new Error(`"${command}" ended:\n${text}`);
      return /INFO \((\d+)\): ready (\{.*\})\n/.exec(text) ?? undefined;
    },
    START_TIMEOUT_MS,
  );
  master = Number(line[1]);
  const ready: { port: number; admin: string[] } = JSON.parse(line[2] ?? '');
  return {
    documentedPort,
    pid: master,
    port: ready.port,
    admin: ready.admin[0]?.replace('http://', '') ?? '',
    output: () => text,
    isOver: () => isOver,
    interrupt: () => child.stdin.write(CONTROL_C),
    exited,
  };
}

/** Waits until everything that a load test left in the log has been printed. */
export async function comeToRest(terminal: Pick<ServerTerminal, 'output'>): Promise<void> {
  let shown = -1;
  let sinceMs = performance.now();
  await until(
    'the terminal comes to rest',
    () => {
      const nowMs = performance.now();
      if (terminal.output().length !== shown) sinceMs = nowMs;
      shown = terminal.output().length;
      return nowMs - sinceMs >= REST_MS;
    },
    START_TIMEOUT_MS,
  );
}

function killAll(terminal: number, master: number): void {
  const ours = master > 0 ? [...childrenOf(master), master] : [];
  for (const pid of [...ours, ...childrenOf(terminal), terminal]) {
    if (pid > 0 && isRunning(pid)) process.kill(pid, 'SIGKILL');
  }
}
