import { prettyFactory } from 'pino-pretty';
import type { LogOutput } from './line-output.js';

export interface TerminalOptions {
  readonly colour: boolean;
}

/** Formats JSON lines for people; a line is written before the call returns. */
export function terminalOutput(output: LogOutput, { colour }: TerminalOptions): LogOutput {
  const format = prettyFactory({ colorize: colour, ignore: 'hostname', singleLine: true });
  return { write: (line) => output.write(format(line)) };
}
