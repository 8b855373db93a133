/** A line of progress. On stderr, because stdout belongs to the server's JSON lines. */
export function say(text) {
  process.stderr.write(`moonring: ${text}\n`);
}
