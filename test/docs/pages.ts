import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/*
 * The pages as data. The info string of a fenced block defines what it is, for readers and for
 * these tests:
 *
 *   ```sh            commands, to be pasted line by line; a comment may give the expected result
 *   ```text          the output of the commands above, or what the server logs while they run
 *   ```<language>    code; with a file name after the language, the content of that file
 *   ```              a diagram
 */

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface Block {
  readonly language: string;
  /** The file name after the language, `''` without one. */
  readonly file: string;
  readonly text: string;
  /** The number of its first line, counted from 1. */
  readonly line: number;
}

export interface Link {
  readonly target: string;
  readonly line: number;
}

export interface Page {
  /** Relative to the repository root. */
  readonly path: string;
  readonly blocks: readonly Block[];
  readonly links: readonly Link[];
  /** The fragments that links to this page may have. */
  readonly anchors: ReadonlySet<string>;
  /** Lines that are code by their indent only. */
  readonly indented: readonly number[];
}

/** All files tracked by git, and untracked files that are not ignored. */
export function trackedFiles(): string[] {
  const options = ['ls-files', '--cached', '--others', '--exclude-standard', '-z'];
  const listing = execFileSync('git', options, { cwd: ROOT, encoding: 'utf8' });
  // During a merge a file is listed more than once; a removed one is still listed.
  const paths = new Set(listing.split('\0').filter((path) => path !== ''));
  return [...paths].filter((path) => existsSync(join(ROOT, path)));
}

/** The pages whose commands are run. */
export function commandPages(): string[] {
  const pages = /^(README|CONTRIBUTING|bench\/README|docs\/.*)\.md$/;
  return trackedFiles().filter((path) => pages.test(path));
}

export function readPage(path: string): Page {
  return parsePage(path, readFileSync(join(ROOT, path), 'utf8'));
}

export function parsePage(path: string, text: string): Page {
  const blocks: Block[] = [];
  const links: Link[] = [];
  const anchors = new Set<string>();
  const indented: number[] = [];
  const lines = text.split('\n');
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at] ?? '';
    const fence = /^(`{3,})(\w*) *(\S*)/.exec(line);
    if (fence) {
      const [, ticks = '', language = '', file = ''] = fence;
      const end = lines.indexOf(ticks, at + 1);
      if (end < 0) throw new Error(`${path}:${at + 1}: this block does not end`);
      const inside = lines.slice(at + 1, end);
      blocks.push({
        language,
        file,
        text: inside.map((each) => `${each}\n`).join(''),
        line: at + 2,
      });
      at = end;
      continue;
    }
    if (/^ {4,}\S/.test(line) && lines[at - 1] === '') indented.push(at + 1);
    const heading = /^#{1,6} +(.*?) *$/.exec(line)?.[1];
    if (heading !== undefined) anchors.add(unusedAnchor(heading, anchors));
    for (const target of linksIn(line)) links.push({ target, line: at + 1 });
  }
  return { path, blocks, links, anchors, indented };
}

function linksIn(line: string): string[] {
  const prose = line.replace(/`[^`]*`/g, '``');
  return [...prose.matchAll(/\]\(([^)\s]*)\)/g)].map(([, target = '']) => target);
}

/** GitHub's rule: lower-case words joined by hyphens, a number after the second of a name. */
function unusedAnchor(heading: string, used: ReadonlySet<string>): string {
  const words = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
  const anchor = words.replace(/[^\p{L}\p{N}\p{M}_ -]/gu, '').replaceAll(' ', '-');
  let name = anchor;
  for (let count = 1; used.has(name); count += 1) name = `${anchor}-${count}`;
  return name;
}
