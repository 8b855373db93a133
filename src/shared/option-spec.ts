/**
 * A row of the table of options (options.ts). Bounds and defaults are in the form that operators
 * write.
 */
interface OptionBase {
  /**
   * Kebab case. Determines the flag `--max-body`, the variable `MOONRING_MAX_BODY` and the key
   * `maxBody`.
   */
  readonly name: string;
  readonly short?: string;
  readonly section: Section;
  readonly description: string;
  /** A variable set by hosting platforms, read if ours is not set. */
  readonly alsoEnv?: string;
  /** The former name and letter: accepted everywhere, with a warning. */
  readonly oldName?: string;
  readonly oldShort?: string;
  /**
   * `argument`: written without a flag. `command`: a flag only. `locator`: flag and variable, not
   * in the file.
   */
  readonly role?: 'argument' | 'command' | 'locator';
  /** Passed to every reactor, under the same key. */
  readonly native?: true;
  /** Belongs to the master: a reload does not apply a change. */
  readonly restart?: true;
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
  /** 0 is allowed below `min`, and means no limit. */
  readonly zero?: true;
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

/** Addresses or host names: a list with commas, or an array in the file; `*` is all addresses. */
interface HostsOption extends OptionBase {
  readonly type: 'hosts';
  readonly default: string;
}

/** Networks to match peers against: a list with commas, or an array in the file. */
interface NetworksOption extends OptionBase {
  readonly type: 'networks';
  /** Stands for the default, an empty list, in the documentation. */
  readonly absent: string;
}

/** Words with commas, or an array in the file; `off`: none. */
interface WordsOption extends OptionBase {
  readonly type: 'words';
  readonly placeholder: string;
  /** What a word may be, as a regular expression, and in English. */
  readonly pattern: string;
  readonly form: string;
  readonly default: string;
}

interface PathOption extends OptionBase {
  readonly type: 'path';
  /** Stands for the default in the documentation. */
  readonly absent: string;
  /** The path of a Unix socket, whose length is limited. */
  readonly socket?: true;
}

/** An address of another server, with http:// or https://. */
interface UrlOption extends OptionBase {
  readonly type: 'url';
  /** Stands for the default in the documentation. */
  readonly absent: string;
}

/** Files: a list with commas, or an array in the file. */
interface PathsOption extends OptionBase {
  readonly type: 'paths';
  /** Stands for the default, an empty list, in the documentation. */
  readonly absent: string;
}

/** `--name` or `--no-name`; `on` or `off` in a variable, true or false in the file. */
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

/** Bytes. */
export interface NamedSize {
  readonly name: string;
  readonly size: number;
}

/** Sizes by name: `cache=16m`, repeated or with commas; an object in the file. */
interface SizesOption extends OptionBase {
  readonly type: 'sizes';
  readonly min: string;
  readonly max: string;
  /** How many there may be. */
  readonly most: number;
  /** Stands for the default, none, in the documentation. */
  readonly absent: string;
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
  | HostsOption
  | NetworksOption
  | WordsOption
  | PathOption
  | PathsOption
  | UrlOption
  | SwitchOption
  | ModeOption
  | AddressesOption
  | SizesOption
  | BoolOption;

export const SECTIONS = [
  'Application',
  'Listening',
  'TLS',
  'Processes',
  'Limits',
  'Compression',
  'WebSocket',
  'Timeouts',
  'Shutdown',
  'Operation',
  'Logs and memory',
  'Configuration',
] as const;
export type Section = (typeof SECTIONS)[number];
