import { sample } from './metrics.mjs';

export function check(value, conditions) {
  const results = Object.values(conditions).map((condition) => Boolean(condition(value)));
  for (const result of results) sample('checks', 'rate', Number(result));
  return results.every(Boolean);
}
