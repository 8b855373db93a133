import type { Readable } from 'node:stream';

/** Longer than any record of a reactor. */
export const LINE_BYTES_MAX = 64 * 1024;
const CUT_MARK = '... [cut]';

/**
 * Calls `onLine` for each line, without its end. A longer line is cut, and the rest skipped, so a
 * process that writes without newlines uses no memory here.
 */
export function readLines(stream: Readable, onLine: (line: string) => void): void {
  let parts: Buffer[] = [];
  let bytes = 0;
  let isCut = false;

  function add(part: Buffer): void {
    const kept = part.subarray(0, LINE_BYTES_MAX - bytes);
    isCut ||= kept.length < part.length;
    bytes += kept.length;
    // A copy: a slice would keep the whole chunk alive.
    if (kept.length > 0) parts.push(Buffer.from(kept));
  }

  function end(): void {
    const line = Buffer.concat(parts).toString();
    const text = isCut ? line + CUT_MARK : line.replace(/\r$/, '');
    parts = [];
    bytes = 0;
    isCut = false;
    onLine(text);
  }

  stream.on('data', (chunk: Buffer) => {
    let from = 0;
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
      add(chunk.subarray(from, at));
      from = at + 1;
      end();
    }
    add(chunk.subarray(from));
  });
  stream.on('end', () => {
    if (bytes > 0) end();
  });
}
