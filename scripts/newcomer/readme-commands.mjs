import { SetupError } from '../lib/setup-error.mjs';

/**
 * The commands that a section of a Markdown file asks its reader to type: its indented blocks and
 * its fenced ones in `sh`. A line that stops at a backslash goes on in the next one.
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
  return lines
    .join('\n')
    .replace(/\s*\\\n\s*/g, ' ')
    .split('\n')
    .map((text) => {
      const [, line, comment = ''] = /^(.*?)(?:\s+#\s*(.*))?$/.exec(text.trim());
      return { line, comment };
    })
    .filter(({ line }) => line !== '' && !line.startsWith('#'));
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
 * @property {Command[]} servers started without npm
 * @property {Command[]} others of the same section, which end by themselves
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
  const servers = handler.filter(({ line }) => portOf(line) !== null);
  for (const [what, list] of Object.entries({ requests, servers })) {
    if (list.length === 0) throw new SetupError(`README.md shows no ${what} to try.`);
  }
  return {
    start: named('npm start'),
    test: named('npm test'),
    requests,
    servers,
    others: handler.filter((command) => !servers.includes(command)),
  };
}

/** The port that a server's command line names; null if it names none. */
export function portOf(line) {
  const match = /--port[ =](\d+)/.exec(line);
  return match ? Number(match[1]) : null;
}

/** The status that the line's comment promises: 200 unless it says another. */
export function promisedStatus({ comment }) {
  return Number(/\b[1-5]\d\d\b/.exec(comment)?.[0] ?? 200);
}

/** The line with every port that `ports` knows put in the place of README's. */
export function withPorts(line, ports) {
  return line.replace(/(?<=[: =])\d{2,5}\b/g, (port) => ports[port] ?? port);
}
