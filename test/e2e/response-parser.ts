/** A response, as parsed by the strictest client. */
export interface RawResponse {
  readonly version: string;
  readonly status: number;
  readonly reason: string;
  /** By lower-case name. Repeated names are rejected. */
  readonly headers: ReadonlyMap<string, string>;
  /** Everything before the body, as sent. */
  readonly head: string;
  readonly body: Buffer;
}

export type ParseResult =
  | { readonly complete: true; readonly length: number; readonly response: RawResponse }
  /** `atLeast`: the total number of bytes needed before it is worth trying again. */
  | { readonly complete: false; readonly atLeast: number };

const STATUS_LINE = /^HTTP\/(1\.[01]) ([1-5]\d\d) ([\x20-\x7e]*)$/;
const FIELD_LINE = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ([\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?|)$/;
const HEAD_END = '\r\n\r\n';

/**
 * The response at the start of `bytes`. Throws at anything that RFC 9112 does not allow a server to
 * send, or that this server never sends: a repeated field, a body without Content-Length.
 */
export function parseResponse(bytes: Buffer, method: string): ParseResult {
  const headEnd = bytes.indexOf(HEAD_END);
  if (headEnd < 0) {
    if (bytes.length > 0 && !'HTTP/1.'.startsWith(bytes.toString('latin1', 0, 7))) {
      throw new Error(`not a response: ${quote(bytes)}`);
    }
    return { complete: false, atLeast: bytes.length + 1 };
  }
  const head = bytes.toString('latin1', 0, headEnd + HEAD_END.length);
  const [statusLine = '', ...fieldLines] = head.slice(0, headEnd).split('\r\n');
  const match = STATUS_LINE.exec(statusLine);
  if (!match) throw new Error(`bad status line: ${quote(bytes)}`);
  const [, version = '', statusText = '', reason = ''] = match;
  const status = Number(statusText);
  const headers = parseFields(fieldLines);
  const bodyLength = bodyLengthOf(method, status, headers);
  const length = head.length + bodyLength;
  if (bytes.length < length) return { complete: false, atLeast: length };
  const body = bytes.subarray(head.length, length);
  return { complete: true, length, response: { version, status, reason, headers, head, body } };
}

function parseFields(lines: readonly string[]): Map<string, string> {
  const headers = new Map<string, string>();
  for (const line of lines) {
    const match = FIELD_LINE.exec(line);
    if (!match) throw new Error(`bad field line: ${JSON.stringify(line)}`);
    const [, name = '', value = ''] = match;
    if (headers.has(name.toLowerCase())) throw new Error(`${name} comes twice`);
    headers.set(name.toLowerCase(), value);
  }
  return headers;
}

function bodyLengthOf(method: string, status: number, headers: Map<string, string>): number {
  const text = headers.get('content-length');
  if (headers.has('transfer-encoding')) throw new Error('unexpected Transfer-Encoding');
  if (text !== undefined && !/^\d{1,15}$/.test(text))
    throw new Error(`bad Content-Length: ${text}`);
  if (status < 200 || status === 204) {
    if (text !== undefined) throw new Error(`Content-Length with ${status}`);
    return 0;
  }
  if (status === 304 || method === 'HEAD') return 0;
  if (text === undefined) throw new Error('a body without Content-Length');
  return Number(text);
}

function quote(bytes: Buffer): string {
  return JSON.stringify(bytes.toString('latin1', 0, 200));
}
