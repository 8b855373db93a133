import { STATUS_CODES } from 'node:http';
import { decodeEscapes, type WireEnd } from './wire-document.js';

interface Answer {
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

/** What is wrong with `got`, if the lines of an answers block are expected; undefined: nothing. */
export function checkAnswers(
  got: Buffer,
  expected: readonly string[],
  end: WireEnd,
): string | undefined {
  let at = 0;
  let answer: Answer | undefined;
  for (const [index, line] of expected.entries()) {
    if (line.startsWith('+ ')) {
      if (!answer?.lines.includes(line.slice(2))) return `${line}: the field is not there`;
      continue;
    }
    if (line.startsWith('- ')) {
      const name = `${line.slice(2).toLowerCase()}:`;
      const found = answer?.lines.some((field) => field.toLowerCase().startsWith(name));
      if (found) return `${line}: the field is there`;
      continue;
    }
    if (line === '100?' && got.toString('latin1', at, at + 13) !== 'HTTP/1.1 100 ') continue;
    answer = readHead(got, at);
    if (!answer) return `${line}: no answer`;
    if (answer.status !== Number(line.slice(0, 3))) return `${line}: ${answer.status} instead`;
    const isLast = !expected.slice(index + 1).some((later) => /^\d/.test(later));
    const wrong = checkFields(answer, isLast && end === 'closed');
    if (wrong) return `${line}: ${wrong}`;
    const taken = checkContent(answer, got, line.slice(3));
    if (typeof taken === 'string') return `${line}: ${taken}`;
    at = answer.contentAt + taken;
  }
  return at === got.length ? undefined : 'more was sent';
}

function readHead(got: Buffer, at: number): Answer | undefined {
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

function checkFields(answer: Answer, closes: boolean): string | undefined {
  if (answer.status === 100) {
    return answer.lines.length > 0 ? 'an interim answer with fields' : undefined;
  }
  if (answer.lines.filter((line) => DATE.test(line)).length !== 1) return 'no Date';
  const hasLength = answer.status !== 204 && answer.status !== 304;
  if (hasLength !== (answer.length !== undefined)) return 'Content-Length';
  if (answer.lines.includes('Connection: close') !== closes) return 'Connection: close';
  return undefined;
}

/** How many bytes of content were as expected, or what is wrong. */
function checkContent(answer: Answer, got: Buffer, rest: string): number | string {
  const { status, length = 0, contentAt } = answer;
  const [, kind, number] = /^ (bodiless|size) (\d+)$/.exec(rest) ?? [];
  if (kind && length !== Number(number)) return `Content-Length is ${length}`;
  if (kind === 'bodiless') return 0;
  if (kind === 'size') return length;
  const phrase = status >= 400 ? `${PHRASES[status] ?? STATUS_CODES[status]}\n` : '';
  const wanted = rest.startsWith(' ') ? decodeEscapes(rest.slice(1)) : Buffer.from(phrase);
  const content = got.subarray(contentAt, contentAt + length);
  return content.equals(wanted) ? length : `other content: ${content.toString('latin1')}`;
}
