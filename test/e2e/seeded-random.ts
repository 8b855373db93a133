import { randomInt } from 'node:crypto';

export interface SeededRandom {
  readonly seed: number;
  /** A whole number from `min` to `max`, inclusive. */
  readonly int: (min: number, max: number) => number;
}

/**
 * The same seed gives the same numbers. MOONRING_TEST_SEED repeats a run; a test prints the
 * seed it used. The generator is mulberry32.
 */
export function seededRandom(): SeededRandom {
  const seed = Number(process.env['MOONRING_TEST_SEED'] ?? randomInt(2 ** 32)) >>> 0;
  let state = seed;
  const fraction = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return { seed, int: (min, max) => min + Math.floor(fraction() * (max - min + 1)) };
}

/**
 * `bytes` in pieces of at most `longest` bytes, whose lengths are distributed evenly over orders
 * of magnitude.
 */
export function randomPieces(bytes: Buffer, random: SeededRandom, longest: number): Buffer[] {
  const magnitudes = Math.ceil(Math.log2(longest));
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = random.int(1, Math.min(longest, 2 ** random.int(0, magnitudes)));
    pieces.push(bytes.subarray(at, at + length));
    at += length;
  }
  return pieces;
}
