/**
 * Whether `output` is what a ```text block says. An ellipsis matches anything within its line or, on a line by
 * itself, any lines. Times, numbers with a fraction and numbers of four digits or more match any
 * such number, because process ids, ports and measurements differ from run to run. A port of
 * localhost matches one of 127.0.0.1. Records of one process come in the order of the block; those
 * of another, behind an ellipsis, may come earlier or later.
 */
export function isExpected(output: string, text: string): boolean {
  return patternsOf(text).every((pattern) => pattern.test(output));
}

/** One for each process whose records a block shows. */
function patternsOf(text: string): RegExp[] {
  const byProcess = new Map<string, string[]>();
  for (const part of text.trimEnd().split(/^ *… *\n/m)) {
    const lines = part.trimEnd().split('\n');
    const process = RECORD.exec(part)?.[1] ?? '';
    const parts = byProcess.get(process) ?? [];
    byProcess.set(process, parts);
    if (part !== '') parts.push(lines.map((line) => `${source(line)}\\n`).join(''));
  }
  return [...byProcess.values()].map((parts) => new RegExp(`^${parts.join('(?:.*\\n)*?')}`, 'm'));
}

const RECORD = /^\[[\d:.]+\] [A-Z]+ \((\d+)\): /;

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
