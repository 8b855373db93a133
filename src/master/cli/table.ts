/** A longer text shifts the rest of its own line only. */
const WIDTH_MAX = 40;

/** Rows as lines of text: all columns but the last are padded, two spaces apart. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [at, text] of row.entries()) {
      widths[at] = Math.max(widths[at] ?? 0, Math.min(text.length, WIDTH_MAX));
    }
  }
  const line = (row: readonly string[]) =>
    row.map((text, at) => (at === row.length - 1 ? text : text.padEnd(widths[at] ?? 0))).join('  ');
  return rows.map((row) => `${line(row)}\n`).join('');
}
