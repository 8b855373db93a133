/**
 * Ends a `switch` over a union: a forgotten case does not compile, and at run time it is named.
 */
export function unreachable(value: never): never {
  throw new TypeError(`a case was forgotten: ${JSON.stringify(value)}`);
}
