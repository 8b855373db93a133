import { statSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { MoonringError } from '../../shared/errors.js';
import { packageRoot } from '../../shared/package-info.js';

/** `moonring serve`: serves a directory of files, without an app. lua/serve.lua is the app that
 * runs. */

export const SERVE_APP = join(packageRoot, 'lua', 'serve.lua');

/** The variable in which the reactors find the site, as JSON. */
export const SITE_VARIABLE = 'MOONRING_SITE';

/** Options of moonring.static (lua/moonring/static.lua), and its root. */
export interface Site {
  readonly root: string;
  readonly index: string;
  readonly listing: boolean;
  readonly dotfiles: boolean;
  readonly clean_urls: boolean;
  readonly precompressed: boolean;
  readonly not_found: string;
  readonly fallback?: string;
  readonly cache_control?: string;
  readonly immutable?: readonly string[];
}

const SECTION = 'Files:';
const INDEX = 'index.html';
const NOT_FOUND = '404.html';
/** Of Cache-Control, --cache-control being one. */
const RULES_MAX = 32;

export interface SiteOption {
  readonly flags: string;
  readonly description: string;
  readonly isList?: true;
}

/** Only on the command line: no variable, key or reload. */
export const SITE_OPTIONS: readonly SiteOption[] = [
  {
    flags: '--spa',
    description: 'Serve the index for pages that do not exist: for single-page apps',
  },
  { flags: '--clean-urls', description: 'Serve the file about.html for /about' },
  { flags: '--index <name>', description: `The file to serve for a directory (default: ${INDEX})` },
  {
    flags: '--not-found <file>',
    description: `The file to send with 404, if it exists (default: ${NOT_FOUND})`,
  },
  { flags: '--no-listing', description: 'Send 404, not a list, for a directory without an index' },
  { flags: '--dotfiles', description: 'Serve files and directories that begin with a dot too' },
  { flags: '--no-precompressed', description: 'Do not look for .br, .zst and .gz beside a file' },
  { flags: '--cache-control <text>', description: 'Cache-Control of all files (default: none)' },
  {
    flags: '--immutable <pattern>',
    description:
      'Files that never change, such as "assets/*": cached for a year; repeat for several',
    isList: true,
  },
];

export function addSiteOptions(command: Command): void {
  for (const { flags, description, isList } of SITE_OPTIONS) {
    const option = new Option(flags, description);
    if (isList) option.argParser((text: string, texts: string[] = []) => [...texts, text]);
    command.addOption(option.helpGroup(SECTION));
  }
}

/** As commander names them. */
const OWN = new Set([
  'spa',
  'cleanUrls',
  'index',
  'notFound',
  'listing',
  'dotfiles',
  'precompressed',
  'cacheControl',
  'immutable',
]);

/** The same checks as in lua/moonring/static.lua, whose messages name other options. */
function siteProblem(given: Readonly<Record<string, unknown>>): string | null {
  const { index, notFound, cacheControl, immutable } = given;
  if (typeof index === 'string' && !/^[^/\0]+$/.test(index)) {
    return `--index: "${index}" is not a file name: it must not have a slash`;
  }
  if (notFound === '') return '--not-found: the name of the file is empty';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a field's value has none.
  if (typeof cacheControl === 'string' && !/^[^\x00-\x1f\x7f]+$/.test(cacheControl)) {
    return `--cache-control: ${JSON.stringify(cacheControl)} is not a valid field value`;
  }
  const patterns = Array.isArray(immutable) ? immutable : [];
  if (patterns.includes('')) return '--immutable: the pattern is empty';
  if (patterns.length + (cacheControl === undefined ? 0 : 1) > RULES_MAX) {
    return `--immutable: there are more than ${RULES_MAX} patterns`;
  }
  return null;
}

/**
 * Splits commander's options into those of the site and those of the server. Throws
 * ERR_MOONRING_USAGE.
 */
export function takeSite(
  root: string,
  given: Readonly<Record<string, unknown>>,
): { readonly site: Site; readonly rest: Record<string, string | boolean> } {
  const rest = Object.fromEntries(
    Object.entries(given).filter(([name]) => !OWN.has(name)),
  ) as Record<string, string | boolean>;
  const text = (name: string): string | undefined => {
    const value = given[name];
    return typeof value === 'string' ? value : undefined;
  };
  const index = text('index') ?? INDEX;
  const cacheControl = text('cacheControl');
  const immutable = given['immutable'];
  const problem = siteProblem(given);
  if (problem !== null) throw new MoonringError('ERR_MOONRING_USAGE', problem);
  const site: Site = {
    root,
    index,
    listing: given['listing'] !== false,
    dotfiles: given['dotfiles'] === true,
    clean_urls: given['cleanUrls'] === true,
    precompressed: given['precompressed'] !== false,
    not_found: text('notFound') ?? NOT_FOUND,
    ...(given['spa'] === true ? { fallback: index } : {}),
    ...(cacheControl === undefined ? {} : { cache_control: cacheControl }),
    ...(Array.isArray(immutable) ? { immutable: immutable.map(String) } : {}),
  };
  return { site, rest };
}

/** Throws ERR_MOONRING_USAGE: a directory that does not exist at the start is probably
 * misspelled. */
export function requireDirectory({ root }: Site): void {
  if (statSync(root, { throwIfNoEntry: false })?.isDirectory()) return;
  throw new MoonringError('ERR_MOONRING_USAGE', `serve: ${root} is not a directory`);
}
