/**
 * Every way in which Moonring fails on purpose. The table gives each error code the exit code of a
 * process that ends by it, and one line for the documentation.
 */
const ERRORS = {
  ERR_MOONRING_USAGE: { exitCode: 2, meaning: 'a flag, an argument or a variable is wrong' },
  ERR_MOONRING_CONFIG: { exitCode: 78, meaning: 'the config file is wrong' },
  ERR_MOONRING_HANDLER: { exitCode: 78, meaning: 'the app is missing or does not load' },
  ERR_MOONRING_LISTEN: { exitCode: 69, meaning: 'the address cannot be listened on' },
  ERR_MOONRING_CRASH_LOOP: { exitCode: 70, meaning: 'a reactor keeps crashing' },
  ERR_MOONRING_ADDON: { exitCode: 1, meaning: 'the native addon is missing or does not load' },
  ERR_MOONRING_PROTOCOL: {
    exitCode: 1,
    meaning: 'master and reactor do not understand each other',
  },
  ERR_MOONRING_CONTROL: { exitCode: 1, meaning: 'the server that was spoken to refused' },
  ERR_MOONRING_UNHEALTHY: { exitCode: 1, meaning: 'the server that was asked cannot serve' },
  ERR_MOONRING_DRAIN: { exitCode: 1, meaning: 'a drain did not end cleanly' },
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
}

/** The table, for the documentation. */
export function errorRows(): ErrorRow[] {
  return (Object.keys(ERRORS) as ErrorCode[]).map((code) => ({ code, ...ERRORS[code] }));
}

/** The text of anything that was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
