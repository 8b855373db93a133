import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Test } from 'tap';
import { until, within } from '../e2e/until.js';
import { type Command, claimedExit, claimedStatus, commandsOf } from './commands.js';
import { ELSEWHERE } from './elsewhere.js';
import { isExpected } from './expected-output.js';
import { type Block, type Page, ROOT } from './pages.js';
import { type Ended, openShell, type Shell } from './shell.js';
import { comeToRest, openServerTerminal, type ServerTerminal, startsServer } from './terminal.js';

/** Commands are slow on a busy machine. */
const OUTPUT_TIMEOUT_MS = 120_000;
/** The URL of a server on another machine. */
const ELSEWHERE_SERVER = 'http://server.example';

/*
 * Follows a page from top to bottom, like a reader with two terminals who runs every command.
 *
 * Commands run as written, in a copy of the repository root that consists of symbolic links, so
 * that files created by the page are not left behind. What is changed (see `rewritten`): ports,
 * the prefix /usr/local, length and rate of load tests and the k6 that they run, and that a
 * benchmark exits when it has parsed its arguments.
 *
 * A server stays in its terminal until the page stops it, starts another one, or ends. In the
 * last two cases, and where an output begins with ^C, Ctrl-C is pressed, and the server must exit
 * with 0. After a HUP the test waits for the log to report the result, after a TERM for the exit.
 */
interface Scene {
  readonly t: Test;
  readonly page: Page;
  readonly scratch: string;
  readonly shell: Shell;
  server: ServerTerminal | null;
  /** The ends of all server logs when the current block began. */
  log: string;
  shown: string;
}

export async function runPage(t: Test, page: Page): Promise<void> {
  const scratch = linkedRoot(t);
  const notes = mkdtempSync(join(tmpdir(), 'moonring-notes-'));
  t.teardown(() => rmSync(notes, { recursive: true }));
  const shell = openShell(t, { cwd: scratch, scratch: notes, env: environment(scratch) });
  const scene: Scene = { t, page, scratch, shell, server: null, log: '', shown: '' };
  for (const block of page.blocks) await runBlock(scene, block);
  await leave(scene);
}

function linkedRoot(t: Test): string {
  const scratch = mkdtempSync(join(tmpdir(), 'moonring-scene-'));
  t.teardown(() => rmSync(scratch, { recursive: true }));
  for (const name of readdirSync(ROOT)) {
    if (name !== '.git' && name !== '.tap') symlinkSync(join(ROOT, name), join(scratch, name));
  }
  return scratch;
}

function environment(scratch: string): NodeJS.ProcessEnv {
  const programs = join(scratch, '.programs');
  mkdirSync(programs);
  const standIn = join(ROOT, 'test/load/stand-in/k6.mjs');
  symlinkSync(standIn, join(programs, 'k6'));
  return {
    PATH: `${process.env['PATH']}:${programs}`,
    PKG_CONFIG_PATH: join(scratch, '.local/lib/pkgconfig'),
    LD_LIBRARY_PATH: join(scratch, '.local/lib'),
  };
}

async function runBlock(scene: Scene, block: Block): Promise<void> {
  const { t, page, scratch } = scene;
  if (block.file !== '') {
    const path = join(scratch, block.file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, block.text);
  }
  if (block.language === 'text') {
    if (block.text.startsWith('^C')) scene.server?.interrupt();
    // The output of curl need not end with a newline.
    const isThere = () =>
      isExpected(`${scene.shown}\n`, block.text) || isExpected(logSince(scene), block.text);
    const what = `${page.path}:${block.line}: this output`;
    await until(what, isThere, OUTPUT_TIMEOUT_MS).then(
      () => t.pass(what),
      () => t.fail(what, { wanted: block.text, shown: scene.shown, log: logSince(scene) }),
    );
    return;
  }
  if (block.language !== 'sh') return;
  scene.log = scene.server?.output() ?? '';
  scene.shown = '';
  for (const command of commandsOf(block)) {
    if (!Object.hasOwn(ELSEWHERE, command.text)) await runCommand(scene, command);
  }
}

function logSince({ server, log }: Scene): string {
  const text = server?.output() ?? '';
  return text.startsWith(log) ? text.slice(log.length) : text;
}

async function runCommand(scene: Scene, command: Command): Promise<void> {
  const { t, page, scratch } = scene;
  const name = `${page.path}:${command.line}: ${command.text.split('\n')[0]}`;
  const exit = claimedExit(command);
  if (exit === 0 && startsServer(command.text)) {
    await leave(scene);
    scene.log = '';
    // Both terminals are in the same directory.
    const directory = (await scene.shell.run('pwd')).output.trim();
    scene.server = await openServerTerminal(t, command.text, directory);
    t.pass(name);
    return;
  }
  if (command.text.includes(ELSEWHERE_SERVER) && scene.server === null) {
    scene.server = await openServerTerminal(t, 'node dist/master.js', scratch);
  }
  const isSignal = /\bkill -(HUP|TERM|INT)\b/.exec(command.text);
  const isCount = /\/metrics\b/.test(command.text);
  // A reader sends signals after reading the output so far, and asks for counts a moment after the requests: a
  // reactor counts a response after it has sent it.
  if ((isSignal || isCount) && scene.server) await comeToRest(scene.server);
  const before = scene.server?.output().length ?? 0;
  const ended = await scene.shell.run(rewritten(scene, command.text));
  scene.shown += ended.output;
  t.equal(ended.code, isSignal ? 0 : exit, name, { output: ended.output });
  checkStatuses(t, name, command, ended);
  if (isSignal && scene.server) await afterSignal(scene, isSignal[1], { name, exit, before });
}

function checkStatuses(t: Test, name: string, command: Command, { statuses }: Ended): void {
  if (!/^curl\b/.test(command.text)) return;
  if (claimedExit(command) !== 0) return;
  const claimed = claimedStatus(command);
  t.ok(statuses.length > 0, `${name}: an answer`);
  for (const status of statuses) {
    if (claimed === null) t.ok(status >= 200 && status < 300, `${name}: ${status} is a success`);
    else t.equal(status, claimed, name);
  }
}

async function afterSignal(
  { t, server }: Scene,
  signal: string | undefined,
  { name, exit, before }: { name: string; exit: number; before: number },
): Promise<void> {
  if (server === null) return;
  if (signal === 'HUP') {
    await until(name, () => /: (reloaded|reload rejected)\b/.test(server.output().slice(before)));
  } else {
    t.equal(await within(`the end after ${name}`, server.exited), exit, `${name}: exit code`);
  }
}

/** Replaces what must differ from the page: ports, the process id, installation paths. */
function rewritten({ server, scratch }: Scene, text: string): string {
  let command = text.replaceAll('/usr/local', join(scratch, '.local'));
  // CMake's build directories contain the path of the root.
  if (/^(cmake|make) /.test(command)) command = `(cd '${ROOT}' && ${command})`;
  // Seconds are enough to see that it runs.
  if (/^npm run load\b/.test(command)) command = `LOAD_K6=k6 ${command} --duration 2 --rate 20`;
  if (/^k6 run\b/.test(command)) command = command.replace(/RATE=\d+/, 'DURATION=2 -e RATE=20');
  if (/\bnpm run smoke\b/.test(command)) command = `DURATION=2s ${command}`;
  // On a busy machine thresholds may be exceeded (99), or the generator may be at its limit (3).
  if (/\bnpm run (load|smoke)\b|^k6 run\b/.test(command)) {
    command = `(${command}; case $? in 0|3|99) true ;; *) false ;; esac)`;
  }
  // A benchmark runs until it has parsed its arguments and found its programs.
  if (/^node bench\//.test(command)) {
    const hook = join(ROOT, 'test/docs/stop-at-first-process.mjs');
    command = `(NODE_OPTIONS='--import ${hook}' ${command}; test $? = 42)`;
  }
  // A command that cannot start fails for the reason given by the page.
  if (/^(\w+=\S+ )*node dist\/master\.js (?!health|ctl|top)/.test(`${command} `)) {
    command = `MOONRING_PORT=0 MOONRING_ADMIN=127.0.0.1:0 ${command}`;
  }
  if (server === null) return command;
  return command
    .replaceAll('<master>', String(server.pid))
    .replaceAll(ELSEWHERE_SERVER, `http://127.0.0.1:${server.port}`)
    .replace(/\b(localhost|127\.0\.0\.1):9464\b/g, server.admin)
    .replaceAll(`localhost:${server.documentedPort}`, `127.0.0.1:${server.port}`)
    .replaceAll(`--port ${server.documentedPort}`, `--port ${server.port}`);
}

/** Ctrl-C, if something is running. */
async function leave(scene: Scene): Promise<void> {
  const { t, page, server } = scene;
  scene.server = null;
  if (server === null || server.isOver()) return;
  if (!server.output().endsWith(' stopped\n')) server.interrupt();
  const code = await within('the end after Ctrl-C', server.exited);
  t.equal(code, 0, `${page.path}: Ctrl-C drains and exits with 0`);
}
