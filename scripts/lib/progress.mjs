/** One short line of set-up news. On stderr, because stdout belongs to the server's JSON lines. */
export function say(sentence) {
  process.stderr.write(`moonring: ${sentence}\n`);
}
