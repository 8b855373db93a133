import { dirname, resolve } from 'node:path';
import { type Address, resolveAddress, socketPathProblem } from './addresses.js';
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
  ownEnvName,
  settings,
} from './options.js';
import { didYouMean, nearest } from './suggest.js';
import { formatSize, type Parsed } from './units.js';

/** Where a value was written, for error messages. */
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
  /** The path of the config file, if there is one. */
  readonly file: string | null;
  /** For the log: old names that were used. */
  readonly warnings: readonly string[];
}

type Entry = { readonly source: Source; readonly value: OptionValue | null };

/** An entry under an old name has a warning. */
type Found = Entry & { readonly warning?: string };

/**
 * flag > variable > file > default. Throws ERR_MOONRING_USAGE for a flag or a variable and
 * ERR_MOONRING_CONFIG for the file; the message names the place of the value.
 */
export function resolveConfig(inputs: ConfigInputs): ResolvedConfig {
  const env = ownVariables(inputs.env);
  rejectMisspelledVariables(env);
  const file = inputs.file === null ? null : readConfigFile(inputs.file);
  const entries: Record<string, Entry> = {};
  const warnings: string[] = [];
  for (const spec of settings()) {
    const found: Found = fromFlag(spec, inputs) ??
      fromEnv(spec, env, inputs.cwd) ??
      (file && fromFile(spec, file)) ?? { source: { type: 'default' }, value: defaultOf(spec) };
    const { warning, ...entry } = found;
    if (warning !== undefined) warnings.push(warning);
    entries[keyOf(spec)] = entry;
  }
  watchInDevelopment(entries);
  fitUrlIntoRing(entries);
  fitBodyIntoMemory(entries);
  fitSharedIntoMemory(entries);
  rejectLonely(entries);
  const values = Object.entries(entries);
  // The table is the type: `settings()` yields exactly the keys of Config, each parsed to the type
  // of its row.
  return {
    config: Object.fromEntries(values.map(([key, entry]) => [key, entry.value])) as Config,
    sources: Object.fromEntries(
      values.map(([key, entry]) => [key, entry.source]),
    ) as ResolvedConfig['sources'],
    file: inputs.file?.path ?? null,
    warnings,
  };
}

/** The origin of a value, unless it is from the command line or the default. */
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

function fromFlag(spec: OptionSpec, { flags, cwd }: ConfigInputs): Found | null {
  for (const { name, warning } of namesOf(spec, flagOf)) {
    const text = flags[keyOf({ name })];
    if (text === undefined) continue;
    const flag = spec.role === 'argument' ? `[${name}]` : flagOf({ name });
    return { ...entryOf(spec, { type: 'flag', flag }, parseText(spec, text), cwd), ...warning };
  }
  return null;
}

function fromEnv(spec: OptionSpec, env: Environment, cwd: string): Found | null {
  const old = namesOf(spec, ({ name }) => ownEnvName(name)).slice(1);
  const variables = [
    ...envNamesOf(spec).map((name) => ({ name, warning: {} })),
    ...old.map(({ name, warning }) => ({ name: ownEnvName(name), warning })),
  ];
  for (const { name, warning } of variables) {
    const text = env[name];
    // Empty counts as unset: `PORT=${PORT:-}` in a compose file means the default.
    if (text === undefined || text === '') continue;
    return { ...entryOf(spec, { type: 'env', name }, parseText(spec, text), cwd), ...warning };
  }
  return null;
}

function fromFile(spec: OptionSpec, file: ParsedFile): Found | null {
  for (const { name, warning } of namesOf(spec, keyOf)) {
    const key = keyOf({ name });
    if (!Object.hasOwn(file.values, key)) continue;
    const source: Source = { type: 'file', path: file.path, key };
    const result = parseJson(spec, file.values[key]);
    return { ...entryOf(spec, source, result, dirname(file.path)), ...warning };
  }
  return null;
}

/** The name of an option, then its old one with a warning that has both as `written`. */
function namesOf(spec: OptionSpec, written: (spec: { readonly name: string }) => string) {
  const { name, oldName } = spec;
  if (oldName === undefined) return [{ name, warning: {} }];
  const warning = `${written({ name: oldName })} is now called ${written({ name })}`;
  return [
    { name, warning: {} },
    { name: oldName, warning: { warning } },
  ];
}

/** Paths are resolved against `base`. */
function entryOf(
  spec: OptionSpec,
  source: Source,
  result: Parsed<OptionValue>,
  base: string,
): Entry {
  if (!result.ok) throw invalid(source, result.problem);
  const { value } = result;
  if (spec.type === 'path') {
    const path = resolve(base, String(value));
    const problem = spec.socket === true ? socketPathProblem(path) : null;
    if (problem !== null) throw invalid(source, problem);
    return { source, value: path };
  }
  if (spec.type === 'paths') {
    return { source, value: (value as readonly string[]).map((path) => resolve(base, path)) };
  }
  if (spec.type !== 'addresses') return { source, value };
  const addresses = (value as readonly Address[]).map((address) => {
    const resolved = resolveAddress(address, base);
    if (!resolved.ok) throw invalid(source, resolved.problem);
    return resolved.value;
  });
  return { source, value: addresses };
}

interface ParsedFile {
  readonly path: string;
  readonly values: Readonly<Record<string, unknown>>;
}

function readConfigFile({ path, text }: { path: string; text: string }): ParsedFile {
  let values: unknown;
  try {
    // Some editors write a byte order mark.
    values = JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MoonringError('ERR_MOONRING_CONFIG', `${path} is not JSON: ${reason}`, { cause });
  }
  if (typeof values !== 'object' || values === null || Array.isArray(values)) {
    throw new MoonringError('ERR_MOONRING_CONFIG', `${path} must hold one JSON object`);
  }
  const known = settings().map(keyOf);
  const old = settings().flatMap(({ oldName }) => oldName ?? []);
  for (const key of Object.keys(values)) {
    if (known.includes(key) || old.includes(key)) continue;
    const hint = didYouMean(key, known);
    throw new MoonringError('ERR_MOONRING_CONFIG', `${path}: unknown key "${key}"${hint}`);
  }
  return { path, values: { ...values } };
}

/**
 * Without the variables that Kubernetes sets for a Service called `moonring`, among them
 * MOONRING_PORT=tcp://10.0.0.1:80.
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

/** For developers, not an option. */
const ADDON_VARIABLE = `${ENV_PREFIX}ADDON`;

/**
 * A misspelled variable would be ignored silently. Names that are not close to an option
 * (MOONRING_VERSION in an image) belong to other programs.
 */
function rejectMisspelledVariables(env: Environment): void {
  const known = OPTIONS.flatMap((spec: OptionSpec) => [
    ...envNamesOf(spec),
    ...(spec.oldName === undefined ? [] : [ownEnvName(spec.oldName)]),
  ]).filter((name) => name.startsWith(ENV_PREFIX));
  const words = known.map((name) => name.replace(ENV_PREFIX, ''));
  for (const name of Object.keys(env)) {
    if (!name.startsWith(ENV_PREFIX) || known.includes(name) || name === ADDON_VARIABLE) continue;
    const meant = nearest(name.slice(ENV_PREFIX.length), words);
    if (meant === null) continue;
    const hint = `(Did you mean ${ENV_PREFIX}${meant}?)`;
    throw new MoonringError('ERR_MOONRING_USAGE', `${name}: no such option ${hint}`);
  }
}

/** `dev` also means `watch`, unless that was set itself. */
function watchInDevelopment(entries: Record<string, Entry>): void {
  const { dev, watch } = entries;
  if (dev?.value !== true || watch?.source.type !== 'default') return;
  entries['watch'] = { source: dev.source, value: true };
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
  throw invalid(maxUrl.source, `${url} is more than ring-size (${ring}): ${advice}`);
}

/** The memory for all bodies holds at least the largest one. */
function fitBodyIntoMemory(entries: Record<string, Entry>): void {
  const { maxBody, maxBodyMemory } = entries;
  if (typeof maxBody?.value !== 'number' || typeof maxBodyMemory?.value !== 'number') return;
  if (maxBodyMemory.value === 0 || maxBody.value <= maxBodyMemory.value) return;
  if (maxBodyMemory.source.type === 'default') {
    entries['maxBodyMemory'] = { ...maxBodyMemory, value: maxBody.value };
    return;
  }
  const memory = formatSize(maxBodyMemory.value);
  const body = formatSize(maxBody.value);
  const advice = 'raise max-body-memory or lower max-body';
  throw invalid(maxBodyMemory.source, `${memory} is less than max-body (${body}): ${advice}`);
}

/** Every reactor has the dictionaries in its memory, and so does its successor. */
function fitSharedIntoMemory(entries: Record<string, Entry>): void {
  const { memoryLimit, shared } = entries;
  if (typeof memoryLimit?.value !== 'number' || memoryLimit.value === 0) return;
  const sizes = (shared?.value ?? []) as Config['shared'];
  const total = sizes.reduce((sum, { size }) => sum + size, 0);
  if (total < memoryLimit.value) return;
  const limit = formatSize(memoryLimit.value);
  const advice = 'raise memory-limit, or lower shared';
  throw invalid(
    memoryLimit.source,
    `${limit} has no room beside shared (${formatSize(total)}): ${advice}`,
  );
}

/**
 * Options that mean nothing without another one, which has no value: a listener or a check of clients
 * that is not there would be noticed late.
 */
function rejectLonely(entries: Record<string, Entry>): void {
  const pairs = [
    ['tlsPort', 'tlsCert'],
    ['tlsHandshakes', 'tlsCert'],
    ['tlsClientCert', 'tlsClientCa'],
  ] as const;
  for (const [key, needed] of pairs) {
    const entry = entries[key];
    const value = entries[needed]?.value ?? null;
    const isLonely = value === null || (Array.isArray(value) && value.length === 0);
    if (entry === undefined || entry.source.type === 'default' || !isLonely) continue;
    const option = needed.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    throw invalid(entry.source, `has no effect without ${option}`);
  }
}

function invalid(source: Source, text: string): MoonringError {
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
