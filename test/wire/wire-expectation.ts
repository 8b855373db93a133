import { STATUS_CODES } from 'node:http';
import { decodeEscapes, type WireEnd } from './wire-document.js';

interface Response {
  readonly status: number;
  readonly lines: readonly string[];
  /** Content-Length, undefined if there is none. */
  readonly length: number | undefined;
  readonly contentAt: number;
}

const STATUS_LINE = /^HTTP\/1\.1 (\d{3}) ([\x20-\x7e]*)$/;
const FIELD_LINE = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+: (?:[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?$/;
const DATE = /^Date: (Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/;

/** Phrases of RFC 9110 where node's table has older ones. */
const PHRASES: Readonly<Record<number, string>> = {
  413: 'Content Too Large',
};

/** What is wrong with `got`, if the lines of a block of responses are expected; undefined: nothing. */
export function checkResponses(
  got: Buffer,
  expected: readonly string[],
  end: WireEnd,
): string | undefined {
  let at = 0;
  let response: Response | undefined;
  for (const [index, line] of expected.entries()) {
    if (line.startsWith('+ ')) {
      if (!response?.lines.includes(line.slice(2))) return `${line}: the field is not there`;
      continue;
    }
    if (line.startsWith('- ')) {
      const name = `${line.slice(2).toLowerCase()}:`;
      const found = response?.lines.some((field) => field.toLowerCase().startsWith(name));
      if (found) return `${line}: the field is there`;
      continue;
    }
    if (line === '100?' && got.toString('latin1', at, at + 13) !== 'HTTP/1.1 100 ') continue;
    response = readHead(got, at);
    if (!response) return `${line}: no response`;
    if (response.status !== Number(line.slice(0, 3))) return `${line}: ${response.status} instead`;
    const isLast = !expected.slice(index + 1).some((later) => /^\d/.test(later));
    const wrong = checkFields(response, isLast && end === 'closed');
    if (wrong) return `${line}: ${wrong}`;
    const taken = checkContent(response, got, line.slice(3));
    if (typeof taken === 'string') return `${line}: ${taken}`;
    at = response.contentAt + taken;
  }
  return at === got.length ? undefined : 'more was sent';
}

function readHead(got: Buffer, at: number): Response | undefined {
  const headEnd = got.indexOf('\r\n\r\n', at);
  if (headEnd < 0) return undefined;
  const [statusLine = '', ...lines] = got.toString('latin1', at, headEnd).split('\r\n');
  const match = STATUS_LINE.exec(statusLine);
  if (!match || !lines.every((line) => FIELD_LINE.test(line))) return undefined;
  const lengths = lines.filter((line) => line.startsWith('Content-Length: '));
  if (lengths.length > 1) return undefined;
  const length = lengths[0] === undefined ? undefined : Number(lengths[0].slice(16));
  return { status: Number(match[1]), lines, length, contentAt: headEnd + 4 };
}

function checkFields(response: Response, closes: boolean): string | undefined {
  if (response.status === 100) {
    return response.lines.length > 0 ? 'an interim response with fields' : undefined;
  }
  if (response.lines.filter((line) => DATE.test(line)).length !== 1) return 'no Date';
  const hasLength = response.status !== 204 && response.status !== 304;
  if (hasLength !== (response.length !== undefined)) return 'Content-Length';
  if (response.lines.includes('Connection: close') !== closes) return 'Connection: close';
  return undefined;
}

/** How many bytes of content were as expected, or what is wrong. */
function checkContent(response: Response, got: Buffer, rest: string): number | string {
  const { status, length = 0, contentAt } = response;
  const [, kind, number] = /^ (bodiless|size) (\d+)$/.exec(rest) ?? [];
  if (kind && length !== Number(number)) return `Content-Length is ${length}`;
  if (kind === 'bodiless') return 0;
  if (kind === 'size') return length;
  const phrase = status >= 400 ? `${PHRASES[status] ?? STATUS_CODES[status]}\n` : '';
  const wanted = rest.startsWith(' ') ? decodeEscapes(rest.slice(1)) : Buffer.from(phrase);
  const content = got.subarray(contentAt, contentAt + length);
  return content.equals(wanted) ? length : `other content: ${content.toString('latin1')}`;
}
