/**
 * Every failure that Moonring reports. Per error code: the exit code of the process, and two texts
 * for the documentation: what it means, and what to do.
 */
const ERRORS = {
  ERR_MOONRING_USAGE: {
    exitCode: 2,
    meaning: 'a flag, an argument or a variable is wrong',
    advice: 'correct what the message names; `--help` lists all options',
  },
  ERR_MOONRING_CONFIG: {
    exitCode: 78,
    meaning: 'the config file is wrong, or a log cannot be written',
    advice:
      'correct the key or path that the message names; `--check` tests without starting anything',
  },
  ERR_MOONRING_HANDLER: {
    exitCode: 78,
    meaning: 'the app is missing or does not load',
    advice: 'correct the file and line that the message names; a restart alone does not help',
  },
  ERR_MOONRING_LISTEN: {
    exitCode: 69,
    meaning: 'the server cannot listen on an address',
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
      'install the package on the system that runs it, with its optional dependencies, or build ' +
      'the addon there: `npx moonring build`, in a clone `npm run build`',
  },
  ERR_MOONRING_PROTOCOL: {
    exitCode: 1,
    meaning: 'master and reactor speak different versions of their protocol',
    advice: 'the files of two versions are mixed: build everything again and restart',
  },
  ERR_MOONRING_CONTROL: {
    exitCode: 1,
    meaning: 'a server refused the command, or did not respond',
    advice:
      'give `--admin` the socket of a running server; a refusal has its reason in the message',
  },
  ERR_MOONRING_UNHEALTHY: {
    exitCode: 1,
    meaning: 'the server cannot serve requests now',
    advice: 'it is starting or draining, or has no reactor: see its log',
  },
  ERR_MOONRING_TEST: {
    exitCode: 1,
    meaning: '`moonring test`: a case has failed, or a test file does not load',
    advice: 'the report says which, with file and line',
  },
  ERR_MOONRING_SHARED: {
    exitCode: 1,
    meaning: 'a call on a shared dictionary failed',
    advice: 'the message names the dictionary, the method and the reason',
  },
  ERR_MOONRING_DRAIN: {
    exitCode: 1,
    meaning: 'a drain did not end cleanly',
    advice:
      'a second signal, a crash of a reactor or `--drain-timeout` aborted requests: allow more time',
  },
} as const;

export type ErrorCode = keyof typeof ERRORS;

export const EXIT_OK = 0;

export class MoonringError extends Error {
  override readonly name = 'MoonringError';
  readonly code: ErrorCode;

  /** `message` is for an operator: what failed, where, and what to do. */
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
