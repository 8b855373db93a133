import {
  type Address,
  formatAddress,
  parseAddresses,
  parseHosts,
  parseNetworks,
} from './addresses.js';
import { unreachable } from './assert.js';
import type { NamedSize, OptionSpec } from './option-spec.js';
import { keyOf } from './options.js';
import {
  formatDuration,
  formatSize,
  type Parsed,
  parseCount,
  parseDuration,
  parsed,
  parseSize,
  problem,
} from './units.js';

export type OptionValue =
  | number
  | string
  | boolean
  | readonly string[]
  | readonly Address[]
  | readonly NamedSize[];

/** The value of an option as written in a flag or a variable. */
export function parseText(spec: OptionSpec, text: string): Parsed<OptionValue> {
  switch (spec.type) {
    case 'count':
      if (spec.word === text) return parsed(text);
      return inRange(parseCount(text), spec.min, spec.max, String);
    case 'size':
      return parseSizeOption(spec, text);
    case 'duration':
      return inRange(parseDuration(text), 0, durationMs(spec.max), formatDuration);
    case 'port':
      if (spec.word === text) return parsed(text);
      return inRange(parseCount(text), 0, 65_535, String);
    case 'choice':
      if (spec.choices.includes(text)) return parsed(text);
      return problem(`"${text}" is not one of ${spec.choices.join(', ')}`);
    case 'hosts':
      return parseHosts(text);
    case 'networks':
      return parseNetworks(text);
    case 'words':
      return parseWords(spec, text);
    case 'path':
      if (text.includes('\0')) return problem('a path cannot contain NUL');
      return text === '' ? problem('the path is empty') : parsed(text);
    case 'paths':
      return parsePaths(text);
    case 'url':
      return parseUrl(text);
    case 'switch':
      return parseSwitch(text);
    case 'mode':
      return /^0?[0-7]{3}$/.test(text)
        ? parsed(Number.parseInt(text, 8))
        : problem(`"${text}" is not a mode: write three octal digits, like ${spec.default}`);
    case 'addresses':
      return parseAddresses(text);
    case 'sizes':
      return parseSizes(spec, text);
    case 'bool':
      return problem('takes no value');
    default:
      return unreachable(spec);
  }
}

/**
 * The value of an option as written in the config file: text, or a number where no unit is missing.
 */
export function parseJson(spec: OptionSpec, value: unknown): Parsed<OptionValue> {
  if (typeof value === 'string') return parseText(spec, value);
  if (typeof value === 'boolean' && spec.type === 'switch') return parsed(value);
  if (spec.type === 'sizes') return parseSizesOfFile(spec, value);
  if (isList(spec) && Array.isArray(value) && value.length > 0) {
    const texts = value.filter((text) => typeof text === 'string');
    if (texts.length === value.length) return parseText(spec, texts.join(','));
  }
  const takesNumber = spec.type === 'count' || spec.type === 'size' || spec.type === 'port';
  if (typeof value === 'number' && (takesNumber || value === 0)) return parseText(spec, `${value}`);
  if (spec.type === 'switch') return problem('must be true or false');
  const expected = takesNumber
    ? 'a number or text'
    : isList(spec)
      ? 'text or a list of text'
      : 'text';
  return problem(`must be ${expected}, like ${JSON.stringify(exampleOf(spec))}`);
}

/** The default as a value. A path or a URL has none. */
export function defaultOf(spec: OptionSpec): OptionValue | null {
  if (spec.type === 'path' || spec.type === 'url' || spec.type === 'bool') return null;
  if (spec.type === 'networks' || spec.type === 'sizes' || spec.type === 'paths') return [];
  const result = parseText(spec, spec.default);
  if (!result.ok) throw new TypeError(`default of ${keyOf(spec)}: ${result.problem}`);
  return result.value;
}

/** Written with commas in text, and as an array in the file. */
export function isList({ type }: OptionSpec): boolean {
  return (
    type === 'hosts' ||
    type === 'networks' ||
    type === 'sizes' ||
    type === 'paths' ||
    type === 'words'
  );
}

function exampleOf(spec: OptionSpec): string {
  if (spec.type === 'networks') return '10.0.0.0/8';
  if (spec.type === 'url') return 'http://127.0.0.1:4318';
  return 'default' in spec ? spec.default : './file';
}

function parsePaths(text: string): Parsed<readonly string[]> {
  if (text.includes('\0')) return problem('a path cannot contain NUL');
  const paths = text.split(',').map((path) => path.trim());
  return paths.includes('') ? problem('a path is empty') : parsed(paths);
}

function parseWords(
  spec: Extract<OptionSpec, { type: 'words' }>,
  text: string,
): Parsed<readonly string[]> {
  if (text === 'off') return parsed([]);
  const words = text.split(',').map((word) => word.trim());
  const pattern = new RegExp(`^(?:${spec.pattern})$`);
  const wrong = words.find((word) => !pattern.test(word));
  if (wrong !== undefined) return problem(`"${wrong}" is not ${spec.form}`);
  const twice = words.find((word, i) => words.indexOf(word) !== i);
  return twice === undefined ? parsed(words) : problem(`"${twice}" is given twice`);
}

function parseSizeOption(
  spec: Extract<OptionSpec, { type: 'size' }>,
  text: string,
): Parsed<OptionValue> {
  if (spec.zero === true && text === '0') return parsed(0);
  const size = inRange(parseSize(text), sizeBytes(spec.min), sizeBytes(spec.max), formatSize);
  if (!size.ok || spec.powerOfTwo !== true) return size;
  return Number.isInteger(Math.log2(size.value))
    ? size
    : problem(`"${text}" is not a power of two, like ${spec.default}`);
}

function inRange(
  result: Parsed<number>,
  min: number,
  max: number,
  format: (value: number) => string,
): Parsed<number> {
  if (!result.ok || (result.value >= min && result.value <= max)) return result;
  return problem(`must be from ${format(min)} to ${format(max)}, not ${format(result.value)}`);
}

const SIZE_NAME = /^[A-Za-z_][A-Za-z0-9_-]{0,62}$/;

function parseSizes(
  spec: Extract<OptionSpec, { type: 'sizes' }>,
  text: string,
): Parsed<readonly NamedSize[]> {
  const sizes: NamedSize[] = [];
  for (const part of text.split(',')) {
    const equals = part.indexOf('=');
    if (equals === -1) return problem(`"${part}" is not name=size, like cache=16m`);
    const name = part.slice(0, equals).trim();
    if (!SIZE_NAME.test(name)) {
      return problem(
        `"${name}" is not a name: up to 63 letters, digits, _ and -, no digit or - at the beginning`,
      );
    }
    if (sizes.some((known) => known.name === name)) return problem(`"${name}" is given twice`);
    const size = inRange(
      parseSize(part.slice(equals + 1).trim()),
      sizeBytes(spec.min),
      sizeBytes(spec.max),
      formatSize,
    );
    if (!size.ok) return problem(`${name}: ${size.problem}`);
    sizes.push({ name, size: size.value });
  }
  return sizes.length > spec.most
    ? problem(`must be at most ${spec.most}, not ${sizes.length}`)
    : parsed(sizes);
}

/** An object, `{ "cache": "16m" }`. */
function parseSizesOfFile(
  spec: Extract<OptionSpec, { type: 'sizes' }>,
  value: unknown,
): Parsed<readonly NamedSize[]> {
  const entries = typeof value === 'object' && value !== null ? Object.entries(value) : [];
  const isWritten = entries.every(
    ([name, size]) => !name.includes(',') && ['string', 'number'].includes(typeof size),
  );
  if (typeof value !== 'object' || value === null || Array.isArray(value) || !isWritten) {
    return problem('must be an object of names and sizes, like {"cache": "16m"}');
  }
  if (entries.length === 0) return parsed([]);
  return parseSizes(spec, entries.map(([name, size]) => `${name}=${size}`).join(','));
}

/** Bounds are written by us: a wrong one is a bug. */
function sizeBytes(text: string): number {
  const result = parseSize(text);
  return result.ok ? result.value : Number.NaN;
}

function durationMs(text: string): number {
  const result = parseDuration(text);
  return result.ok ? result.value : Number.NaN;
}

const SWITCH_WORDS: Readonly<Record<string, boolean>> = {
  on: true,
  true: true,
  '1': true,
  off: false,
  false: false,
  '0': false,
};

function parseUrl(text: string): Parsed<string> {
  const isOne = URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
  return isOne ? parsed(text) : problem(`"${text}" is not a URL with http:// or https://`);
}

function parseSwitch(text: string): Parsed<boolean> {
  const value = SWITCH_WORDS[text];
  return value === undefined ? problem(`"${text}" is neither on nor off`) : parsed(value);
}

/** A value as written in a flag; the word for none if there is none. */
export function writtenText(spec: OptionSpec, value: OptionValue | null): string {
  const none = 'absent' in spec ? spec.absent : 'off';
  if (value === null || (Array.isArray(value) && value.length === 0)) return none;
  switch (spec.type) {
    case 'size':
      return formatSize(Number(value));
    case 'duration':
      return formatDuration(Number(value));
    case 'mode':
      return `0${Number(value).toString(8)}`;
    case 'switch':
      return value === true ? 'on' : 'off';
    case 'addresses':
      return (value as readonly Address[]).map(formatAddress).join(',');
    case 'sizes':
      return (value as readonly NamedSize[])
        .map(({ name, size }) => `${name}=${formatSize(size)}`)
        .join(',');
    default:
      return String(value);
  }
}

/** The default as text, `null` if there is none. */
export function defaultText(spec: OptionSpec): string | null {
  if (spec.type === 'bool') return null;
  return 'absent' in spec ? spec.absent : spec.default;
}

/** The placeholder of the value: `<size>`, `<port|off>`. */
export function valueText(spec: OptionSpec): string {
  switch (spec.type) {
    case 'bool':
    case 'switch':
      return '';
    case 'choice':
    case 'words':
      return `<${spec.placeholder}>`;
    case 'addresses':
      return '<address>';
    case 'hosts':
      return '<host>';
    case 'networks':
      return '<network>';
    case 'paths':
      return '<path>';
    case 'sizes':
      return '<name=size>';
    case 'port':
      return spec.word === undefined ? '<port>' : `<port|${spec.word}>`;
    case 'count':
      return spec.word === undefined ? '<n>' : `<n|${spec.word}>`;
    default:
      return `<${spec.type}>`;
  }
}
