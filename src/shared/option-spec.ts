/**
 * What a row of the table of options (options.ts) may say. Bounds and defaults are written as an
 * operator would write them.
 */
interface OptionBase {
  /**
   * Kebab case. Gives the flag `--max-body`, the variable `MOONRING_MAX_BODY` and the key
   * `maxBody`.
   */
  readonly name: string;
  readonly short?: string;
  readonly section: Section;
  readonly description: string;
  /** Variables that other systems set, read when ours is not set. */
  readonly alsoEnv?: string;
  /**
   * `argument`: written without a flag. `command`: a flag only. `locator`: flag and variable, not
   * in the file.
   */
  readonly role?: 'argument' | 'command' | 'locator';
}

interface CountOption extends OptionBase {
  readonly type: 'count';
  readonly min: number;
  readonly max: number;
  /** A word that may stand for the number. */
  readonly word?: string;
  readonly default: string;
}

interface SizeOption extends OptionBase {
  readonly type: 'size';
  readonly min: string;
  readonly max: string;
  readonly powerOfTwo?: true;
  readonly default: string;
}

interface DurationOption extends OptionBase {
  readonly type: 'duration';
  readonly max: string;
  readonly default: string;
}

interface ChoiceOption extends OptionBase {
  readonly type: 'choice';
  readonly placeholder: string;
  readonly choices: readonly string[];
  readonly default: string;
}

interface PortOption extends OptionBase {
  readonly type: 'port';
  /** A word that may stand for the number. */
  readonly word?: string;
  readonly default: string;
}

interface HostOption extends OptionBase {
  readonly type: 'host';
  readonly default: string;
}

interface PathOption extends OptionBase {
  readonly type: 'path';
  /** What happens without it, for the documentation. */
  readonly absent: string;
}

/** A flag without a value; `on` or `off` in a variable, true or false in the file. */
interface SwitchOption extends OptionBase {
  readonly type: 'switch';
  readonly default: 'off';
}

/** File permissions in octal. */
interface ModeOption extends OptionBase {
  readonly type: 'mode';
  readonly default: string;
}

/** `host:port`, the path of a Unix socket, or both with a comma; or `off`. */
interface AddressesOption extends OptionBase {
  readonly type: 'addresses';
  readonly default: string;
}

interface BoolOption extends OptionBase {
  readonly type: 'bool';
  readonly role: 'command';
}

export type OptionSpec =
  | CountOption
  | SizeOption
  | DurationOption
  | ChoiceOption
  | PortOption
  | HostOption
  | PathOption
  | SwitchOption
  | ModeOption
  | AddressesOption
  | BoolOption;

export const SECTIONS = [
  'Application',
  'Listening',
  'Processes',
  'Limits',
  'Timeouts',
  'Shutdown',
  'Operation',
  'Logs and memory',
  'Configuration',
] as const;
export type Section = (typeof SECTIONS)[number];
