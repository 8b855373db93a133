import { prettyFactory } from 'pino-pretty';

/** Where log lines go: pino's destinations, and a terminal. */
export interface LogOutput {
  write(line: string): void;
  /** Opens the file behind it anew, where there is one. */
  reopen?(): void;
}

export interface TerminalOptions {
  readonly colour: boolean;
}

/** Log lines for a person: a JSON line becomes a readable one, written before the call returns. */
export function terminalOutput(output: LogOutput, { colour }: TerminalOptions): LogOutput {
  const format = prettyFactory({ colorize: colour, ignore: 'hostname', singleLine: true });
  return { write: (line) => output.write(format(line)) };
}
