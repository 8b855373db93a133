// Memory of a process, from /proc. Linux only.
import { readFileSync } from 'node:fs';

const FIELDS = { resident: 'Rss', privateClean: 'Private_Clean', privateDirty: 'Private_Dirty' };

/**
 * Bytes: `resident`, what the kernel counts as resident; `private`, the pages that no other process
 * has mapped too, which is what one more process of the kind costs.
 */
export function memoryOf(pid) {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
  const bytes = (field) => Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(text)[1]) * 1024;
  return {
    resident: bytes(FIELDS.resident),
    private: bytes(FIELDS.privateClean) + bytes(FIELDS.privateDirty),
  };
}
