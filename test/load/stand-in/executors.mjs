import { setTimeout as delay } from 'node:timers/promises';

import { sample } from './metrics.mjs';

const stepMs = 10;
/** A step later than this is a delay of this process, which k6 would not have had. */
const lateMs = 100;

/** Runs the iterations of a scenario until its time is over or `signal` aborts the run. */
export async function runScenario(scenario, iterate, signal) {
  switch (scenario.executor) {
    case 'constant-vus':
      return constantUsers(scenario, iterate, signal);
    case 'constant-arrival-rate':
      return arrivals(scenario, [[scenario.rate, secondsOf(scenario.duration)]], iterate, signal);
    case 'ramping-arrival-rate': {
      const stages = scenario.stages.map((stage) => [stage.target, secondsOf(stage.duration)]);
      return arrivals({ ...scenario, rate: scenario.startRate }, stages, iterate, signal);
    }
    default:
      throw new Error(`executor ${scenario.executor}`);
  }
}

async function constantUsers({ vus, duration }, iterate, signal) {
  sample('vus', 'gauge', vus);
  const deadline = performance.now() + secondsOf(duration) * 1000;
  const user = async () => {
    while (performance.now() < deadline && !signal.aborted) await iterate();
  };
  await Promise.all(Array.from({ length: vus }, user));
}

/**
 * Starts iterations when they are due. If no virtual user is free, the iteration is dropped, and k6
 * adds another, up to its limit; an iteration that is late because of our delay waits for a user.
 */
async function arrivals({ rate, preAllocatedVUs, maxVUs }, stages, iterate, signal) {
  const running = new Set();
  let users = preAllocatedVUs;
  let due = 0;
  let owed = 0;
  const start = () => {
    const one = iterate().finally(() => running.delete(one));
    running.add(one);
  };
  let from = rate;
  let last = performance.now();
  for (const [target, seconds] of stages) {
    const begin = last;
    const end = begin + seconds * 1000;
    while (last < end && !signal.aborted) {
      await delay(stepMs);
      const now = Math.min(performance.now(), end);
      const current = from + ((target - from) * (now - begin)) / (end - begin);
      const more = (current * (now - last)) / 1000;
      if (now - last > lateMs) owed += more;
      else due += more;
      last = now;
      for (; due >= 1; due -= 1) {
        if (running.size < users) {
          start();
        } else {
          sample('dropped_iterations', 'counter', 1);
          users = Math.min(users + 1, maxVUs);
        }
      }
      for (; owed >= 1 && running.size < users; owed -= 1) start();
      sample('vus', 'gauge', users);
    }
    from = target;
  }
  await Promise.all(running);
}

function secondsOf(text) {
  const match = /^([\d.]+)s$/.exec(text);
  if (!match) throw new Error(`duration ${text}`);
  return Number(match[1]);
}
