// How many connections one process may hold on this machine.
import { readFileSync } from 'node:fs';

/** Descriptors of a process that are no connections, with room to spare. */
const OWN_DESCRIPTORS = 200;

function descriptorLimit() {
  const limits = readFileSync('/proc/self/limits', 'latin1');
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(limits)[1];
  return hard === 'unlimited' ? Number.POSITIVE_INFINITY : Number(hard);
}

/** `count`, or as many connections as the limit of descriptors has room for; then it says so. */
export function fittingConnections(count) {
  const room = descriptorLimit() - OWN_DESCRIPTORS;
  if (count <= room) return count;
  console.error(`  the limit of open files allows ${room} connections, not ${count}`);
  return room;
}
