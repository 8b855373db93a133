import type { StatsSnapshot } from '../../shared/native-stats.js';
import { ratesBetween, type ServerRates } from './rates.js';

const EVERY_MS = 1000;

export interface RateSampler {
  /** Over the last second that was sampled; `null` before there is one. */
  rates(): ServerRates | null;
  close(): void;
}

/** Takes a sample of the stats page every second. */
export function sampleRates(read: () => StatsSnapshot): RateSampler {
  let last = read();
  let rates: ServerRates | null = null;
  const timer = setInterval(() => {
    const now = read();
    rates = ratesBetween(last, now);
    last = now;
  }, EVERY_MS).unref();
  return { rates: () => rates, close: () => clearInterval(timer) };
}
