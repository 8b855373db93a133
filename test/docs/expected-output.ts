/**
 * A ```text block as a pattern. An ellipsis matches anything within its line or, on a line by
 * itself, any lines. Times, numbers with a fraction and numbers of four digits or more match any
 * such number, because process ids, ports and measurements differ from run to run. A port of
 * localhost matches one of 127.0.0.1.
 */
export function patternOf(text: string): RegExp {
  const lines = text.trimEnd().split('\n');
  const sources = lines.map((line) => (line.trim() === '…' ? '(?:.*\\n)*?' : `${source(line)}\\n`));
  return new RegExp(`^${sources.join('')}`, 'm');
}

function source(line: string): string {
  const variable = /localhost:\d+|\d+:\d\d:\d\d(?:\.\d+)?|\d+\.\d+(?:\.\d+)*|\d{4,}|…/g;
  let pattern = '';
  let end = 0;
  for (const match of line.matchAll(variable)) {
    pattern += literal(line.slice(end, match.index)) + kindOf(match[0]);
    end = match.index + match[0].length;
  }
  return `${pattern + literal(line.slice(end))} *`;
}

function kindOf(text: string): string {
  if (text === '…') return '.*';
  if (text.startsWith('localhost')) return '[\\w.]+:\\d+';
  if (text.includes(':')) return '[\\d:.]+';
  return text.includes('.') ? '[\\d.]+' : '\\d+';
}

function literal(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
}
