import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { type ResolvedConfig, resolveConfig } from '../../shared/config.js';
import { MoonringError, messageOf } from '../../shared/errors.js';
import type { OptionSpec } from '../../shared/option-spec.js';
import { keyOf, settings } from '../../shared/options.js';
import type { PinoLogger } from '../log/log.js';
import { serverOf } from '../server.js';

/** `moonring test`: runs the cases of Lua test files, each file in a separate server. */
export interface TestInputs {
  /** Files, and directories to search for `*_test.lua`. */
  readonly paths: readonly string[];
  /** What handlers notice of it is used: see isForTests. */
  readonly resolved: ResolvedConfig;
  readonly cwd: string;
  /** Gets the report, in TAP. */
  readonly write: (text: string) => void;
  /** Receives the handlers' log output. */
  readonly writeLog: (text: string) => void;
}

/** A line of lua/moonring/test.lua. `failure` is null for a passed case. */
type Line =
  | { readonly name: string; readonly failure: string | null; readonly seconds: number }
  | { readonly cases: number };

const SUFFIX = '_test.lua';

const NAMES = ['compat', 'shared', 'trusted-proxy', 'forwarded-field'];
const SECTIONS = ['Limits', 'Compression', 'WebSocket'];

/** Whether tests run with the value that the configuration has for this option. */
export function isForTests({ name, section }: OptionSpec): boolean {
  return NAMES.includes(name) || SECTIONS.includes(section);
}

/**
 * Resolves when all have run. Throws ERR_MOONRING_USAGE if there is no test file, and
 * ERR_MOONRING_TEST if a case failed or a file does not load.
 */
export async function runTests(inputs: TestInputs): Promise<void> {
  const { paths, resolved, cwd, write, writeLog } = inputs;
  const files = paths.flatMap((path) => testFiles(resolve(cwd, path)));
  if (files.length === 0) {
    throw new MoonringError('ERR_MOONRING_USAGE', `no *${SUFFIX} in ${paths.join(', ')}`);
  }
  let count = 0;
  let failed = 0;
  const report = (name: string, failure: string | null, seconds: number) => {
    count += 1;
    if (failure !== null) failed += 1;
    write(point(count, name, failure?.replaceAll(`${cwd}/`, '') ?? null, seconds));
  };
  write('TAP version 14\n');
  for (const file of files) {
    const name = relative(cwd, file);
    write(`# ${name}\n`);
    try {
      await runFile({ file, resolved, writeLog, report });
    } catch (error) {
      report(name, messageOf(error), 0);
    }
  }
  write(`1..${count}\n`);
  if (failed > 0) {
    const message = `${failed} of ${count} tests failed`;
    throw new MoonringError('ERR_MOONRING_TEST', message);
  }
}

function testFiles(path: string): string[] {
  let isFile: boolean;
  try {
    isFile = statSync(path).isFile();
  } catch (cause) {
    const isMissing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    const why = isMissing ? 'there is no such file or directory' : messageOf(cause);
    throw new MoonringError('ERR_MOONRING_USAGE', `test: ${path}: ${why}`);
  }
  if (isFile) return [path];
  return readdirSync(path, { withFileTypes: true })
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .filter(({ name }) => name !== 'node_modules' && !name.startsWith('.'))
    .flatMap((entry) => {
      const inside = join(path, entry.name);
      if (entry.isDirectory()) return testFiles(inside);
      return entry.name.endsWith(SUFFIX) ? [inside] : [];
    });
}

type Report = (name: string, failure: string | null, seconds: number) => void;

interface FileInputs extends Pick<TestInputs, 'resolved' | 'writeLog'> {
  readonly file: string;
  readonly report: Report;
}

async function runFile({ file, resolved, writeLog, report }: FileInputs): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'moonring-test-'));
  const uds = join(directory, 'socket');
  const configured = configOf(file, uds, resolved);
  const server = serverOf(() => configured, reactorLog(writeLog));
  try {
    await server.start();
    await askForCases(uds, report);
  } finally {
    await server.stop().catch(() => {});
    rmSync(directory, { recursive: true });
  }
}

/** One reactor for a test file, behind a Unix socket. */
function configOf(file: string, uds: string, given: ResolvedConfig): ResolvedConfig {
  const flags = { app: file, port: 'off', uds, admin: 'off', processes: '1', dispatch: 'inline' };
  const own = resolveConfig({ flags, env: {}, file: null, cwd: '/' });
  const keys = settings().filter(isForTests).map(keyOf);
  const kept = Object.entries(given.config).filter(([key]) => keys.includes(key));
  return { ...own, config: { ...own.config, ...Object.fromEntries(kept) } };
}

/** Throws an Error if the file ends the server, or does not run its cases. */
async function askForCases(socketPath: string, report: Report): Promise<void> {
  const response = await new Promise<IncomingMessage>((done, reject) => {
    request({ socketPath, headers: { 'Moonring-Test-Socket': socketPath }, agent: false }, done)
      .on('error', reject)
      .end();
  });
  if (response.headers['content-type'] !== 'application/x-ndjson') {
    response.resume();
    throw new Error("the file does not run cases: it begins with require 'moonring.test'");
  }
  let last: string | null = null;
  let isWhole = false;
  try {
    for await (const text of createInterface({ input: response })) {
      const line = JSON.parse(text) as Line;
      if ('cases' in line) isWhole = true;
      else {
        last = line.name;
        report(line.name, line.failure, line.seconds);
      }
    }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ECONNRESET') throw cause;
  }
  if (isWhole) return;
  const where = last === null ? 'in the first case' : `in the case after "${last}"`;
  throw new Error(`the reactor has ended ${where}`);
}

function point(count: number, name: string, failure: string | null, seconds: number): string {
  const shown = name.replaceAll(/[\\#]/g, '\\$&').replaceAll(/\s+/g, ' ');
  if (failure === null) return `ok ${count} - ${shown} # time=${(seconds * 1000).toFixed(1)}ms\n`;
  const lines = failure.split('\n').map((line) => `    ${line}\n`);
  return `not ok ${count} - ${shown}\n  ---\n  message: |\n${lines.join('')}  ...\n`;
}

/** Output of reactors, mostly of handlers; not the server's start and stop. */
function reactorLog(write: (text: string) => void): PinoLogger {
  const log = (fields: Readonly<Record<string, unknown>>, message: string) => {
    const { reactorPid, reactor: _, reqId: _id, req: _req, ...others } = fields;
    if (reactorPid === undefined) return;
    const shown = Object.keys(others).length === 0 ? '' : ` ${JSON.stringify(others)}`;
    write(`${message}${shown}\n`);
  };
  return { debug: log, info: log, warn: log, error: log, fatal: log };
}
