import { dirname, resolve } from 'node:path';
import { MoonringError } from './errors.js';
import type { OptionSpec } from './option-spec.js';
import { defaultOf, type OptionValue, parseJson, parseText } from './option-values.js';
import {
  type Config,
  type ConfigKey,
  ENV_PREFIX,
  envNamesOf,
  flagOf,
  keyOf,
  OPTIONS,
  settings,
} from './options.js';
import { didYouMean, nearest } from './suggest.js';
import { formatSize, type Parsed } from './units.js';

/** Where a value was written, so that every complaint can name the place. */
export type Source =
  | { readonly type: 'flag'; readonly flag: string }
  | { readonly type: 'env'; readonly name: string }
  | { readonly type: 'file'; readonly path: string; readonly key: string }
  | { readonly type: 'default' };

export type Environment = Readonly<Record<string, string | undefined>>;

export interface ConfigInputs {
  /** Values of flags and of the argument, by key. */
  readonly flags: Readonly<Record<string, string>>;
  readonly env: Environment;
  /** The config file, if one was named. */
  readonly file: { readonly path: string; readonly text: string } | null;
  /** Absolute; paths in flags and variables are relative to it, those in the file to the file. */
  readonly cwd: string;
}

export interface ResolvedConfig {
  readonly config: Config;
  readonly sources: Readonly<Record<ConfigKey, Source>>;
}

type Entry = { readonly source: Source; readonly value: OptionValue | null };

/**
 * flag > variable > file > default, each value checked where it stands. Throws ERR_MOONRING_USAGE
 * for a flag or a variable and ERR_MOONRING_CONFIG for the file.
 */
export function resolveConfig(inputs: ConfigInputs): ResolvedConfig {
  const env = ownVariables(inputs.env);
  rejectMisspelledVariables(env);
  const file = inputs.file === null ? null : readConfigFile(inputs.file);
  const entries: Record<string, Entry> = {};
  for (const spec of settings()) {
    entries[keyOf(spec)] = fromFlag(spec, inputs) ??
      fromEnv(spec, env, inputs.cwd) ??
      (file && fromFile(spec, file)) ?? { source: { type: 'default' }, value: defaultOf(spec) };
  }
  fitUrlIntoRing(entries);
  const values = Object.entries(entries);
  // The table is the type: `settings()` yields exactly the keys of Config, each parsed to the type
  // of its row.
  return {
    config: Object.fromEntries(values.map(([key, entry]) => [key, entry.value])) as Config,
    sources: Object.fromEntries(
      values.map(([key, entry]) => [key, entry.source]),
    ) as ResolvedConfig['sources'],
  };
}

/** Where a value came from, unless it was typed on the command line or is the default. */
export function originOf(source: Source): string | null {
  switch (source.type) {
    case 'env':
      return source.name;
    case 'file':
      return `"${source.key}" in ${source.path}`;
    case 'flag':
    case 'default':
      return null;
  }
}

/** The file named by `--config` or MOONRING_CONFIG, absolute; null without one. */
export function configPath(inputs: Omit<ConfigInputs, 'file'>): string | null {
  const named = inputs.flags['config'] ?? inputs.env[`${ENV_PREFIX}CONFIG`];
  return named === undefined || named === '' ? null : resolve(inputs.cwd, named);
}

function fromFlag(spec: OptionSpec, { flags, cwd }: ConfigInputs): Entry | null {
  const text = flags[keyOf(spec)];
  if (text === undefined) return null;
  const flag = spec.role === 'argument' ? `[${spec.name}]` : flagOf(spec);
  return entryOf(spec, { type: 'flag', flag }, parseText(spec, text), cwd);
}

function fromEnv(spec: OptionSpec, env: Environment, cwd: string): Entry | null {
  for (const name of envNamesOf(spec)) {
    const text = env[name];
    // Empty is not set: `PORT=${PORT:-}` in a compose file means "whatever is the default".
    if (text === undefined || text === '') continue;
    return entryOf(spec, { type: 'env', name }, parseText(spec, text), cwd);
  }
  return null;
}

function fromFile(spec: OptionSpec, file: ParsedFile): Entry | null {
  const key = keyOf(spec);
  if (!Object.hasOwn(file.values, key)) return null;
  const source: Source = { type: 'file', path: file.path, key };
  return entryOf(spec, source, parseJson(spec, file.values[key]), dirname(file.path));
}

function entryOf(
  spec: OptionSpec,
  source: Source,
  result: Parsed<OptionValue>,
  base: string,
): Entry {
  if (!result.ok) throw complaint(source, result.problem);
  const isPath = spec.type === 'path';
  return { source, value: isPath ? resolve(base, String(result.value)) : result.value };
}

interface ParsedFile {
  readonly path: string;
  readonly values: Readonly<Record<string, unknown>>;
}

function readConfigFile({ path, text }: { path: string; text: string }): ParsedFile {
  let values: unknown;
  try {
    // Some editors begin a file with a byte order mark.
    values = JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MoonringError('ERR_MOONRING_CONFIG', `${path} is not JSON: ${reason}`, { cause });
  }
  if (typeof values !== 'object' || values === null || Array.isArray(values)) {
    throw new MoonringError('ERR_MOONRING_CONFIG', `${path} must hold one JSON object`);
  }
  const known = settings().map(keyOf);
  for (const key of Object.keys(values)) {
    if (known.includes(key)) continue;
    const hint = didYouMean(key, known);
    throw new MoonringError('ERR_MOONRING_CONFIG', `${path}: unknown key "${key}"${hint}`);
  }
  return { path, values: { ...values } };
}

/**
 * Without the variables that Kubernetes makes for a Service that happens to be called `moonring`,
 * among them MOONRING_PORT=tcp://10.0.0.1:80.
 */
function ownVariables(env: Environment): Environment {
  return Object.fromEntries(
    Object.entries(env).filter(
      ([name, value]) =>
        !/^MOONRING_(SERVICE_(HOST|PORT)|PORT_\d+_(TCP|UDP|SCTP))/.test(name) &&
        !(name === 'MOONRING_PORT' && /^(tcp|udp|sctp):\/\//.test(value ?? '')),
    ),
  );
}

/** For developers, and no option. */
const ADDON_VARIABLE = `${ENV_PREFIX}ADDON`;

/**
 * A slip of the pen would be silently ignored otherwise. Names that resemble no option
 * (MOONRING_VERSION in an image) belong to somebody else.
 */
function rejectMisspelledVariables(env: Environment): void {
  const known = OPTIONS.flatMap((spec: OptionSpec) => envNamesOf(spec)).filter((name) =>
    name.startsWith(ENV_PREFIX),
  );
  const words = known.map((name) => name.replace(ENV_PREFIX, ''));
  for (const name of Object.keys(env)) {
    if (!name.startsWith(ENV_PREFIX) || known.includes(name) || name === ADDON_VARIABLE) continue;
    const meant = nearest(name.slice(ENV_PREFIX.length), words);
    if (meant === null) continue;
    const hint = `(Did you mean ${ENV_PREFIX}${meant}?)`;
    throw new MoonringError('ERR_MOONRING_USAGE', `${name}: there is no such option ${hint}`);
  }
}

/** A request head must fit the ring, so a longer limit on its first line would never be reached. */
function fitUrlIntoRing(entries: Record<string, Entry>): void {
  const { maxUrl, ringSize } = entries;
  if (typeof maxUrl?.value !== 'number' || typeof ringSize?.value !== 'number') return;
  if (maxUrl.value <= ringSize.value) return;
  if (maxUrl.source.type === 'default') {
    entries['maxUrl'] = { ...maxUrl, value: ringSize.value };
    return;
  }
  const url = formatSize(maxUrl.value);
  const ring = formatSize(ringSize.value);
  const advice = `raise ring-size or lower max-url`;
  throw complaint(maxUrl.source, `${url} is more than ring-size (${ring}): ${advice}`);
}

function complaint(source: Source, text: string): MoonringError {
  switch (source.type) {
    case 'flag':
      return new MoonringError('ERR_MOONRING_USAGE', `${source.flag}: ${text}`);
    case 'env':
      return new MoonringError('ERR_MOONRING_USAGE', `${source.name}: ${text}`);
    case 'file':
      return new MoonringError('ERR_MOONRING_CONFIG', `${source.path}: "${source.key}": ${text}`);
    case 'default':
      return new MoonringError('ERR_MOONRING_USAGE', text);
  }
}
