import { SetupError } from '../lib/setup-error.mjs';

/**
 * The commands that a section of a Markdown file asks its reader to type: its indented blocks and
 * its fenced ones in `sh`. A line that stops at a backslash goes on in the next one, and a
 * here-document belongs to the line that opens it.
 *
 * @typedef {{ line: string, comment: string }} Command a trailing comment is set apart
 *
 * @param {string} markdown
 * @param {string} heading of a section on the second level
 * @returns {Command[]} at least one
 */
export function commandsUnder(markdown, heading) {
  const section = sectionOf(markdown, heading);
  const lines = section === null ? [] : typedLines(section);
  if (lines.length === 0) throw new SetupError(`README.md has no commands under "${heading}".`);
  return joined(lines)
    .map((text) => {
      if (text.includes('\n')) return { line: text, comment: '' };
      const [, line, comment = ''] = /^(.*?)(?:\s+#\s*(.*))?$/.exec(text.trim());
      return { line, comment };
    })
    .filter(({ line }) => line !== '' && !line.startsWith('#'));
}

/** Lines as a shell takes them: several of the page may be one. */
function joined(lines) {
  const whole = [];
  let end = null;
  let goesOn = false;
  for (const line of lines) {
    if (end !== null) {
      whole.push(`${whole.pop()}\n${line}`);
      if (line.trim() === end) end = null;
      continue;
    }
    if (goesOn) whole.push(`${whole.pop()} ${line.trim()}`);
    else whole.push(line);
    goesOn = /\\$/.test(line);
    if (goesOn) whole.push(whole.pop().replace(/\s*\\$/, ''));
    end = /<<\s*'?(\w+)'?/.exec(line)?.[1] ?? null;
  }
  return whole;
}

function sectionOf(markdown, heading) {
  const parts = `\n${markdown}`.split(/\n## /).slice(1);
  return parts.find((part) => part.split('\n', 1)[0].trim() === heading) ?? null;
}

function typedLines(section) {
  const typed = [];
  let fence = null;
  for (const line of section.split('\n')) {
    const mark = /^```(\w*)/.exec(line);
    if (mark) fence = fence === null ? mark[1] : null;
    else if (fence === 'sh') typed.push(line);
    else if (fence === null && /^ {4}\S/.test(line)) typed.push(line);
  }
  return typed;
}

/**
 * The commands of README.md that a newcomer goes through, sorted by what they are.
 *
 * @typedef {object} Walk
 * @property {string} start
 * @property {string} test
 * @property {Command[]} requests to the server that `start` runs
 * @property {Command[]} handler the lines about one's own handler; at least one starts a server
 *
 * @returns {Walk}
 */
export function readWalk(markdown) {
  const tryIt = commandsUnder(markdown, 'Try it');
  const handler = commandsUnder(markdown, 'Write a handler');
  const named = (wanted) => {
    const found = tryIt.find(({ line }) => line === wanted);
    if (!found) throw new SetupError(`README.md does not say "${wanted}" under "Try it".`);
    return found.line;
  };
  const requests = tryIt.filter(({ line }) => line.startsWith('curl '));
  const servers = handler.filter(startsServer);
  for (const [what, list] of Object.entries({ requests, servers })) {
    if (list.length === 0) throw new SetupError(`README.md shows no ${what} to try.`);
  }
  return {
    start: named('npm start'),
    test: named('npm test'),
    requests,
    handler,
  };
}

/** True for a line that stays until somebody ends it. */
export function startsServer({ line }) {
  return (
    /^node dist\/master\.js\b/.test(line) && !/ (--help|--version|--check\w*|health)\b/.test(line)
  );
}

/** The port that a server's command line names, or else the default. */
export function portOf(line) {
  return Number(/--port[ =](\d+)/.exec(line)?.[1] ?? 8080);
}

/** The status that the line's comment promises: 200 unless it says another. */
export function promisedStatus({ comment }) {
  return Number(/\b[1-5]\d\d\b/.exec(comment)?.[0] ?? 200);
}

/** The line with every port that `ports` knows put in the place of README's. */
export function withPorts(line, ports) {
  return line.replace(/(?<=[: =])\d{2,5}\b/g, (port) => ports[port] ?? port);
}
