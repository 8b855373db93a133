import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/** The faulting thread, as recorded in a core dump (ELF, 64 bits, little-endian). */
export interface Core {
  /** The file contains everything that its headers name. */
  readonly isWhole: boolean;
  readonly signal: number;
  readonly thread: number;
  /** The address of the fault. */
  readonly address: bigint;
}

const PT_NOTE = 4;
const NT_PRSTATUS = 1;
const NT_SIGINFO = 0x53494749;
const PROGRAM_HEADER_BYTES = 56;

export function readCore(path: string): Core {
  const fd = openSync(path, 'r');
  try {
    const { size } = fstatSync(fd);
    const read = (offset: number, length: number) => {
      const bytes = Buffer.alloc(length);
      readSync(fd, bytes, 0, length, offset);
      return bytes;
    };
    const file = read(0, 64);
    if (file.toString('latin1', 0, 4) !== '\x7fELF') throw new Error(`${path} is no core`);
    const at = Number(file.readBigUInt64LE(32));
    const count = file.readUInt16LE(56);
    const headers = Array.from({ length: count }, (_, i) => {
      const header = read(at + i * PROGRAM_HEADER_BYTES, PROGRAM_HEADER_BYTES);
      const offset = Number(header.readBigUInt64LE(8));
      const length = Number(header.readBigUInt64LE(32));
      return { type: header.readUInt32LE(0), offset, length };
    });
    const notes = headers
      .filter(({ type }) => type === PT_NOTE)
      .flatMap(({ offset, length }) => splitNotes(read(offset, length)));
    // The faulting thread comes first.
    const status = notes.find(({ type }) => type === NT_PRSTATUS)?.content;
    const info = notes.find(({ type }) => type === NT_SIGINFO)?.content;
    if (status === undefined || info === undefined) throw new Error(`${path} has no threads`);
    return {
      isWhole: headers.every(({ offset, length }) => offset + length <= size),
      signal: status.readUInt16LE(12),
      thread: status.readUInt32LE(32),
      address: info.readBigUInt64LE(16),
    };
  } finally {
    closeSync(fd);
  }
}

function splitNotes(bytes: Buffer) {
  const padded = (length: number) => Math.ceil(length / 4) * 4;
  const notes: { type: number; content: Buffer }[] = [];
  for (let at = 0; at + 12 <= bytes.length; ) {
    const [nameLength, length] = [bytes.readUInt32LE(at), bytes.readUInt32LE(at + 4)];
    const begin = at + 12 + padded(nameLength);
    notes.push({
      type: bytes.readUInt32LE(at + 8),
      content: bytes.subarray(begin, begin + length),
    });
    at = begin + padded(length);
  }
  return notes;
}
