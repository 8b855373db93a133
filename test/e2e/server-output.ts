import type { ChildProcess } from 'node:child_process';
import { within } from './until.js';

/** A line of the server's JSON log, from standard output or standard error. */
export interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly [field: string]: unknown;
}

export interface ServerOutput {
  readonly logs: readonly LogLine[];
  /** Waits for a line for which `matches` is true, including lines already logged. */
  readonly line: (what: string, matches: (line: LogLine) => boolean) => Promise<LogLine>;
  readonly stdout: () => string;
  readonly stderr: () => string;
  readonly text: () => string;
}

/** Reads both output streams of a server while they are open. */
export function collectOutput(child: ChildProcess): ServerOutput {
  const logs: LogLine[] = [];
  const watchers = new Set<() => void>();
  const collect = (stream: NodeJS.ReadableStream | null) => {
    let all = '';
    let parsed = 0;
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      all += chunk;
      for (let end = all.indexOf('\n', parsed); end >= 0; end = all.indexOf('\n', parsed)) {
        const line = decodeLogLine(all.slice(parsed, end));
        if (line) logs.push(line);
        parsed = end + 1;
      }
      for (const watcher of watchers) watcher();
    });
    return () => all;
  };
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);

  const line = (what: string, matches: (line: LogLine) => boolean): Promise<LogLine> => {
    const found = new Promise<LogLine>((resolve) => {
      const look = () => {
        const match = logs.find(matches);
        if (!match) return;
        watchers.delete(look);
        resolve(match);
      };
      watchers.add(look);
      look();
    });
    return within(`a log line: ${what}`, found);
  };
  return { logs, line, stdout, stderr, text: () => stdout() + stderr() };
}

function decodeLogLine(text: string): LogLine | undefined {
  if (!text.startsWith('{')) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  return isLogLine(value) ? value : undefined;
}

function isLogLine(value: unknown): value is LogLine {
  return (
    typeof value === 'object' &&
    value !== null &&
    'level' in value &&
    typeof value.level === 'number' &&
    'msg' in value &&
    typeof value.msg === 'string'
  );
}
