import type { Block } from './pages.js';

export interface Command {
  /** As pasted, without the comment; several lines if it is continued or has a here-document. */
  readonly text: string;
  /** The text of the comment. */
  readonly claim: string;
  readonly line: number;
}

/** The commands of a ```sh block. */
export function commandsOf(block: Block): Command[] {
  const lines = block.text.split('\n');
  const commands: Command[] = [];
  for (let at = 0; at < lines.length; at += 1) {
    const start = at;
    let { code, claim } = split(lines[at] ?? '');
    if (code === '') continue;
    const collected = [code];
    while (code.endsWith('\\') && at + 1 < lines.length) {
      at += 1;
      ({ code, claim } = split(lines[at] ?? ''));
      collected.push(code);
    }
    const end = /<<'(\w+)'/.exec(code)?.[1];
    while (end !== undefined && at + 1 < lines.length && collected.at(-1) !== end) {
      at += 1;
      collected.push(lines[at] ?? '');
    }
    commands.push({ text: collected.join('\n'), claim, line: block.line + start });
  }
  return commands;
}

function split(line: string): { code: string; claim: string } {
  const comment = /(?:^|\s)# *(.*)$/.exec(line);
  const code = comment === null ? line : line.slice(0, comment.index);
  return { code: code.trimEnd(), claim: comment?.[1] ?? '' };
}

/** The exit code promised by the comment, 0 without one. */
export function claimedExit({ claim }: Command): number {
  return Number(/\bexits? (?:code )?(\d+)/.exec(claim)?.[1] ?? 0);
}

/** The status at the start of the comment, `null` for any success. */
export function claimedStatus({ claim }: Command): number | null {
  const status = /^(\d{3})\b/.exec(claim)?.[1];
  return status === undefined ? null : Number(status);
}
