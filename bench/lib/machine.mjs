// What a reader has to know about the machine that made the figures.
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release } from 'node:os';

/** More than this and others were at work: one core is the load's, one the server's. */
const QUIET_LOAD = 0.5;

function readOr(path, otherwise) {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return otherwise;
  }
}

function frequency() {
  const governor = readOr('/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor', 'unknown');
  const noTurbo = readOr('/sys/devices/system/cpu/intel_pstate/no_turbo', '');
  const boost = readOr('/sys/devices/system/cpu/cpufreq/boost', '');
  const turbo = noTurbo === '1' || boost === '0' ? 'off' : noTurbo || boost ? 'on' : 'unknown';
  return `governor ${governor}, turbo ${turbo}`;
}

/** One line; call it before the first load. */
export function describeMachine() {
  const [{ model }] = cpus();
  const [load] = loadavg();
  const busy = load > QUIET_LOAD ? ': the machine is NOT quiet' : '';
  return (
    `${cpus().length} × ${model.trim()}, ${frequency()}, Linux ${release()}, ` +
    `Node ${process.versions.node}, load average ${load.toFixed(2)}${busy}`
  );
}
