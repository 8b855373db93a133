import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

export interface WireCase {
  /** "host.md: No Host" */
  readonly name: string;
  readonly request: Buffer;
  /** The lines of the block of responses. */
  readonly responses: readonly string[];
  readonly end: WireEnd;
  /** Arguments of the server. */
  readonly options: readonly string[];
}

export type WireEnd = 'open' | 'waiting' | 'closed';

const SIMPLE_ESCAPES: Readonly<Record<string, string>> = {
  r: '\r',
  n: '\n',
  t: '\t',
  '0': '\0',
  '\\': '\\',
};

/** Every case of every document in `directory`; README.md there says how they are written. */
export function readWireCases(directory: string): WireCase[] {
  return readdirSync(directory)
    .filter((name) => name.endsWith('.md') && name !== 'README.md')
    .sort()
    .flatMap((name) => readDocument(join(directory, name)));
}

/** The bytes that a text with escapes stands for. */
export function decodeEscapes(text: string): Buffer {
  const decoded = text.replace(
    /\\(?:([rnt0\\])|x([0-9a-f]{2})|\*(\d+)\(([^)]*)\))|\\/g,
    (all, letter?: string, hex?: string, times?: string, repeated?: string) => {
      if (letter !== undefined) return SIMPLE_ESCAPES[letter] ?? '';
      if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
      if (times === undefined || repeated === undefined) throw new Error(`bad escape: ${all}`);
      return decodeEscapes(repeated).toString('latin1').repeat(Number(times));
    },
  );
  return Buffer.from(decoded, 'latin1');
}

function readDocument(path: string): WireCase[] {
  const [head = '', ...sections] = readFileSync(path, 'utf8').split(/^## /m);
  const fileOptions = optionsIn(head) ?? [];
  return sections.map((section) => {
    const name = `${basename(path)}: ${section.slice(0, section.indexOf('\n'))}`;
    const request = blockIn(section, 'request');
    const responses = blockIn(section, 'responses');
    const end = responses?.pop();
    if (!request || !responses || !isEnd(end)) throw new Error(`${name}: not a case`);
    return {
      name,
      request: decodeEscapes(request.join('')),
      responses,
      end,
      options: optionsIn(section) ?? fileOptions,
    };
  });
}

function blockIn(section: string, info: string): string[] | undefined {
  const found = new RegExp(`^\`\`\`${info}\\n([^]*?)\\n\`\`\`$`, 'm').exec(section);
  return found?.[1]?.split('\n');
}

function optionsIn(text: string): string[] | undefined {
  return /^Options: (.*)$/m.exec(text)?.[1]?.split(' ');
}

function isEnd(word: string | undefined): word is WireEnd {
  return word === 'open' || word === 'waiting' || word === 'closed';
}
