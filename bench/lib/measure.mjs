// One run of load against one server, with what it cost that server's processes.
import { cpuSeconds, processTree, switchCount } from './process-tree.mjs';
import { runWrk } from './wrk.mjs';

/**
 * Loads `server` with wrk (`load` is as for runWrk) and returns wrk's result with, per request, CPU
 * microseconds (userMicros, systemMicros, cpuMicros) and context switches of the whole process tree
 * of the server.
 */
export async function measure(server, { path, ...load }) {
  const pids = processTree(server.pid);
  const before = cpuSeconds(pids);
  const switchesBefore = switchCount(pids);
  const url = `http://127.0.0.1:${server.port}${path}`;
  const result = await runWrk({ url, ...load });
  const after = cpuSeconds(pids);
  const micros = (key) => ((after[key] - before[key]) / result.requests) * 1e6;
  const userMicros = micros('userSeconds');
  const systemMicros = micros('systemSeconds');
  return {
    ...result,
    userMicros,
    systemMicros,
    cpuMicros: userMicros + systemMicros,
    switches: (switchCount(pids) - switchesBefore) / result.requests,
  };
}
