/** " (Did you mean port?)" for a name that is nearly one of `known`, else nothing. */
export function didYouMean(name: string, known: readonly string[]): string {
  const meant = nearest(name, known);
  return meant === null ? '' : ` (Did you mean ${meant}?)`;
}

/** The entry of `known` that `name` is probably a typo of. */
export function nearest(name: string, known: readonly string[]): string | null {
  let best: string | null = null;
  let bestDistance = Math.min(3, Math.floor(name.length * 0.4)) + 1;
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/**
 * The number of insertions, deletions, replacements and swaps of neighbours between the two words.
 */
function editDistance(from: string, to: string): number {
  if (Math.abs(from.length - to.length) > 3) return 4;
  let twoAgo: number[] = [];
  let previous = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (let i = 1; i <= from.length; i++) {
    const row = [i];
    for (let j = 1; j <= to.length; j++) {
      const changed = from[i - 1] === to[j - 1] ? 0 : 1;
      let cost = Math.min(
        (previous[j] ?? 0) + 1,
        (row[j - 1] ?? 0) + 1,
        (previous[j - 1] ?? 0) + changed,
      );
      const swapped = i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1];
      if (swapped) cost = Math.min(cost, (twoAgo[j - 2] ?? 0) + 1);
      row.push(cost);
    }
    twoAgo = previous;
    previous = row;
  }
  return previous[to.length] ?? 0;
}
