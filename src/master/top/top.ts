import { emitKeypressEvents } from 'node:readline';
import type { ReadStream, WriteStream } from 'node:tty';
import { type Address, formatAddress } from '../../shared/addresses.js';
import { MoonringError, messageOf } from '../../shared/errors.js';
import type { StatusReport } from '../admin/status.js';
import { ask } from '../cli/ask.js';
import { sendOrder } from '../cli/control.js';
import { reachable } from '../cli/health.js';
import {
  afterKey,
  INITIAL,
  type Line,
  page,
  type Style,
  type TopState,
  view,
  withReport,
} from './view.js';

/**
 * `moonring top`: queries a running server once a second and shows its state on the terminal;
 * elsewhere (a pipe, a file) prints it once. The master responds from shared memory, without
 * involving reactors.
 */
export interface TopInputs {
  /** The admin addresses of the server. */
  readonly admin: readonly Address[];
  readonly stdin: ReadStream;
  readonly stdout: WriteStream;
  /** Style lines. */
  readonly colour: boolean;
}

const EVERY_MS = 1000;
const TIMEOUT_MS = 5000;
const DEFAULT_COLUMNS = 100;

/** Throws ERR_MOONRING_USAGE without an address, and ERR_MOONRING_CONTROL if no server responds. */
export async function runTop({ admin, stdin, stdout, colour }: TopInputs): Promise<void> {
  // Orders are accepted only on the Unix socket.
  const address = admin.find(({ type }) => type === 'unix') ?? admin[0];
  if (address === undefined) {
    const message = 'top needs the admin address of the server: --admin /path/to/socket';
    throw new MoonringError('ERR_MOONRING_USAGE', message);
  }
  const where = formatAddress(address);
  let first: StatusReport;
  try {
    first = await readReport(address);
  } catch (cause) {
    const message = `no response from a server at ${where}: ${messageOf(cause)}`;
    throw new MoonringError('ERR_MOONRING_CONTROL', message, { cause });
  }
  const state = withReport(INITIAL, first);
  if (!stdout.isTTY) {
    const lines = page(state, where, DEFAULT_COLUMNS);
    stdout.write(
      lines
        .map(
          (line) =>
            `${line
              .map(({ text }) => text)
              .join('')
              .trimEnd()}\n`,
        )
        .join(''),
    );
    return;
  }
  await live(state, { admin, address, where, stdin, stdout, colour });
}

interface LiveInputs extends TopInputs {
  readonly address: Address;
  readonly where: string;
}

/** Runs until a key or a signal ends it. */
function live(first: TopState, inputs: LiveInputs): Promise<void> {
  const { admin, address, where, stdin, stdout, colour } = inputs;
  let state = first;
  let timer: NodeJS.Timeout | undefined;
  let isOver = false;

  const draw = () => {
    if (isOver) return;
    const { columns, rows } = stdout;
    const lines = view(state, { columns, rows, address: where });
    // One write per frame, and no line is cleared before it is written, to avoid flicker.
    stdout.write(`${HOME}${lines.map((line) => paint(line, colour) + CLEAR_RIGHT).join('\r\n')}`);
  };
  const change = (next: TopState) => {
    state = next;
    draw();
  };
  const look = async () => {
    try {
      const report = await readReport(address);
      if (!state.paused) change(withReport(state, report));
    } catch (error) {
      change({ ...state, problem: messageOf(error) });
    }
    if (!isOver) timer = setTimeout(look, EVERY_MS);
  };
  const reload = async () => {
    const order = { type: 'reload' } as const;
    const notice = await sendOrder({ order, admin, timeoutMs: 0 }).then(reloadNotice, messageOf);
    change({ ...state, notice });
  };

  return new Promise((resolve) => {
    const end = () => {
      isOver = true;
      clearTimeout(timer);
      process.off('SIGTERM', end).off('SIGINT', end).off('SIGHUP', end);
      stdout.off('resize', draw).off('error', end);
      stdin.off('keypress', onKey).pause();
      if (stdin.isTTY) stdin.setRawMode(false);
      stdout.write(LEAVE);
      resolve();
    };
    const onKey = (text: string | undefined, key: { name?: string; ctrl: boolean }) => {
      const pressed = key.ctrl ? `ctrl-${key.name}` : (key.name ?? text ?? '');
      const { state: next, order } = afterKey(state, pressed);
      change(next);
      if (order === 'quit') end();
      if (order === 'reload') void reload();
    };
    process.on('SIGTERM', end).on('SIGINT', end).on('SIGHUP', end);
    stdout.on('resize', draw).on('error', end);
    if (stdin.isTTY) {
      emitKeypressEvents(stdin);
      stdin.setRawMode(true).on('keypress', onKey).resume();
    }
    stdout.write(ENTER);
    draw();
    timer = setTimeout(look, EVERY_MS);
  });
}

function reloadNotice(text: string): string {
  const { generation, replaced } = JSON.parse(text) as { generation: number; replaced: string };
  return `reloaded: generation ${generation}, ${replaced}`;
}

async function readReport(address: Address): Promise<StatusReport> {
  const target =
    address.type === 'unix'
      ? { socketPath: address.path }
      : { host: reachable(address.host), port: address.port };
  const headers = { Host: 'localhost' };
  const { status, text } = await ask({ ...target, path: '/status', headers }, TIMEOUT_MS);
  if (status !== 200) throw new Error(`status ${status}`);
  return JSON.parse(text) as StatusReport;
}

/* The ECMA-48 control sequences that every current terminal supports. */
const ENTER = '\x1b[?1049h\x1b[?25l\x1b[2J';
const LEAVE = '\x1b[?25h\x1b[?1049l';
const HOME = '\x1b[H';
const CLEAR_RIGHT = '\x1b[K';

const STYLES: Readonly<Record<Style, string>> = {
  plain: '',
  bold: '1',
  dim: '2',
  good: '32',
  warning: '33',
  bad: '31',
  inverse: '7',
};

/** Without colour the inverse lines stay: they separate the parts. */
function paint(line: Line, colour: boolean): string {
  return line
    .map(({ text, style }) => {
      const code = STYLES[style];
      const isShown = code !== '' && (colour || style === 'inverse' || style === 'bold');
      return isShown ? `\x1b[${code}m${text}\x1b[0m` : text;
    })
    .join('');
}
