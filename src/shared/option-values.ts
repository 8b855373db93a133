import { type Address, parseAddresses, parseHosts, parseNetworks } from './addresses.js';
import { unreachable } from './assert.js';
import type { OptionSpec } from './option-spec.js';
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

export type OptionValue = number | string | boolean | readonly string[] | readonly Address[];

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
    case 'path':
      if (text.includes('\0')) return problem('a path cannot contain NUL');
      return text === '' ? problem('the path is empty') : parsed(text);
    case 'switch':
      return parseSwitch(text);
    case 'mode':
      return /^0?[0-7]{3}$/.test(text)
        ? parsed(Number.parseInt(text, 8))
        : problem(`"${text}" is not a mode: write three octal digits, like ${spec.default}`);
    case 'addresses':
      return parseAddresses(text);
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

/** The default as a value. A path has none. */
export function defaultOf(spec: OptionSpec): OptionValue | null {
  if (spec.type === 'path' || spec.type === 'bool') return null;
  if (spec.type === 'networks') return [];
  const result = parseText(spec, spec.default);
  if (!result.ok) throw new TypeError(`default of ${keyOf(spec)}: ${result.problem}`);
  return result.value;
}

/** Written with commas in text, and as an array in the file. */
export function isList({ type }: OptionSpec): boolean {
  return type === 'hosts' || type === 'networks';
}

function exampleOf(spec: OptionSpec): string {
  if (spec.type === 'networks') return '10.0.0.0/8';
  return 'default' in spec ? spec.default : './file';
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

function parseSwitch(text: string): Parsed<boolean> {
  const value = SWITCH_WORDS[text];
  return value === undefined ? problem(`"${text}" is neither on nor off`) : parsed(value);
}

/** The default as text, `null` where there is none. */
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
      return `<${spec.placeholder}>`;
    case 'addresses':
      return '<address>';
    case 'hosts':
      return '<host>';
    case 'networks':
      return '<network>';
    case 'port':
      return spec.word === undefined ? '<port>' : `<port|${spec.word}>`;
    case 'count':
      return spec.word === undefined ? '<n>' : `<n|${spec.word}>`;
    default:
      return `<${spec.type}>`;
  }
}
