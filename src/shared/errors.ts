/**
 * Every way in which Moonring fails on purpose. The table gives each error code the exit code of a
 * process that ends by it, and two lines for the documentation: what it means, what to do.
 */
const ERRORS = {
  ERR_MOONRING_USAGE: {
    exitCode: 2,
    meaning: 'a flag, an argument or a variable is wrong',
    advice: 'correct what the sentence names; `--help` lists all options',
  },
  ERR_MOONRING_CONFIG: {
    exitCode: 78,
    meaning: 'the config file is wrong, or a log cannot be written',
    advice:
      'correct the key or path that the sentence names; `--check` looks without starting anything',
  },
  ERR_MOONRING_HANDLER: {
    exitCode: 78,
    meaning: 'the app is missing or does not load',
    advice: 'correct the file and line that the sentence names; a restart alone does not help',
  },
  ERR_MOONRING_LISTEN: {
    exitCode: 69,
    meaning: 'the address cannot be listened on',
    advice: 'stop the other program, or choose another `--port`, `--uds` or `--admin`',
  },
  ERR_MOONRING_CRASH_LOOP: {
    exitCode: 70,
    meaning: 'every reactor keeps crashing',
    advice:
      'read the `reactor crashed` records before it: `signal` and `serving` lead to the handler',
  },
  ERR_MOONRING_ADDON: {
    exitCode: 1,
    meaning: 'the native addon is missing or does not load',
    advice:
      'build it on the machine and for the node that run it: `npx moonring build` where the ' +
      'package is installed, `npm run build` in a clone',
  },
  ERR_MOONRING_PROTOCOL: {
    exitCode: 1,
    meaning: 'master and reactor do not understand each other',
    advice: 'the files of two versions are mixed: build everything again and restart',
  },
  ERR_MOONRING_CONTROL: {
    exitCode: 1,
    meaning: 'the server that was spoken to refused',
    advice: 'name the socket of `--admin` of a running server; a refused order says why',
  },
  ERR_MOONRING_UNHEALTHY: {
    exitCode: 1,
    meaning: 'the server that was asked cannot serve',
    advice: 'it starts, drains or has no reactor: its own log says which',
  },
  ERR_MOONRING_DRAIN: {
    exitCode: 1,
    meaning: 'a drain did not end cleanly',
    advice:
      'a second signal, a reactor that died or `--drain-timeout` cut requests: give them their time',
  },
} as const;

export type ErrorCode = keyof typeof ERRORS;

export const EXIT_OK = 0;

export class MoonringError extends Error {
  override readonly name = 'MoonringError';
  readonly code: ErrorCode;

  /** `message` is one sentence for an operator: what failed, where, and what to do. */
  constructor(code: ErrorCode, message: string, options?: { readonly cause: unknown }) {
    super(message, options);
    this.code = code;
  }
}

export function exitCodeOf(code: ErrorCode): number {
  return ERRORS[code].exitCode;
}

export interface ErrorRow {
  readonly code: ErrorCode;
  readonly exitCode: number;
  readonly meaning: string;
  readonly advice: string;
}

/** The table, for the documentation. */
export function errorRows(): ErrorRow[] {
  return (Object.keys(ERRORS) as ErrorCode[]).map((code) => ({ code, ...ERRORS[code] }));
}

/** The text of anything that was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
