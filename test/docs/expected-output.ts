/**
 * A ```text block as a pattern. An ellipsis is anything within its line, or, alone on it, any
 * lines; times, and numbers with a fraction or of four digits and more, stand for others of their
 * kind: processes, ports and measurements differ from run to run. A port of localhost is one of
 * 127.0.0.1.
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
