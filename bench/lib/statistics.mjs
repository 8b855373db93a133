// The little arithmetic that the figures need.

export function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Median, lowest and highest of the ratios of each round to the round of `base` beside it. */
export function ratios(rounds, base, value) {
  const all = rounds.map((round, i) => value(round) / value(base[i]));
  return { median: median(all), lowest: Math.min(...all), highest: Math.max(...all) };
}

/** For what is too coarse in one round; undefined if `base` is nothing. */
export function ratioOfSums(rounds, base, value) {
  const sum = (all) => all.reduce((total, round) => total + value(round), 0);
  return sum(base) > 0 ? sum(rounds) / sum(base) : undefined;
}

/** `1.05 (0.98-1.11)` */
export function spread(ratio, digits = 2) {
  const [middle, low, high] = [ratio.median, ratio.lowest, ratio.highest].map((value) =>
    value.toFixed(digits),
  );
  return `${middle} (${low}-${high})`;
}
