import { emptyNames, pollingFile } from './house-plan.mjs';

/* Words and numbers that stay out of the tree. The form is that of native-rules.mjs. */

const isTest = ({ path }) => /^test\/.*\.(ts|c|h|lua)$/.test(path);
/** Tests that open sockets; in test/unit a port is a value like any other. */
const opensSockets = ({ path }) => /^test\/(e2e|native)\//.test(path);
const isOurs = ({ path }) => path !== 'package-lock.json' && path !== 'LICENSE';

const waitForEvent = 'wait for an event, not for time';

export const wordRules = [
  { name: 'empty-name', check: checkNames },
  {
    name: 'sleep',
    check: (files) =>
      findInLines(
        files.filter(isTest).filter(({ path }) => path !== pollingFile),
        [
          [/\b(u|nano)?sleep\s*\(/, waitForEvent],
          [/\bsetTimeout\(\s*(resolve|res|done|r)\b/, waitForEvent],
          [/\bsetTimeout\b.*timers\/promises/, waitForEvent],
        ],
      ),
  },
  {
    name: 'fixed-port',
    check: (files) =>
      findInLines(files.filter(isTest).filter(opensSockets), [
        [
          /\b(8080|9464)\b|(localhost|127\.0\.0\.1|\[::1\]):\d{4}/,
          'tests bind port 0 and ask which one it became',
        ],
      ]),
  },
  {
    name: 'kill-by-name',
    check: (files) =>
      findInLines(files.filter(isTest), [
        [/\b(pkill|pgrep|killall)\b/, 'end the process that was started, by its pid'],
      ]),
  },
  {
    name: 'lock-file',
    check: (files) =>
      findInLines(
        files.filter(({ path }) => path === 'package-lock.json'),
        [
          [
            /"resolved":/,
            'the lock file names no registry (.npmrc: omit-lockfile-registry-resolved)',
          ],
        ],
      ),
  },
  {
    name: 'machine-path',
    check: (files) =>
      findInLines(files.filter(isOurs), [
        [
          /(^|[\s"'`=:(])\/(wor[k]|root|home\/\w+)(?=\/|["'`\s)]|$)/,
          'no path of one machine in the tree',
        ],
        [
          /\b(deb|security|snapshot|ftp)\.debian\.org|registry\.npmjs\.org/,
          'no mirror or registry host in the tree',
        ],
      ]),
  },
  {
    name: 'issue-number',
    check: (files) =>
      findInLines(files.filter(isOurs), [
        [
          /\b(issues?|tickets?|PR)\s*#?\d+\b|\b(fix(es)?|clos(e|es)|resolves?)\s+#\d+/i,
          'say what, not its number',
        ],
      ]),
  },
];

function checkNames(files) {
  return files.flatMap(({ path }) => {
    const word = path.split(/[/._-]/).find((part) => emptyNames.includes(part));
    return word ? [{ path, line: 1, sentence: `"${word}" says nothing: name what is inside` }] : [];
  });
}

function findInLines(files, patterns) {
  return files.flatMap(({ path, lines }) =>
    lines.flatMap((text, index) =>
      patterns.flatMap(([pattern, sentence]) => {
        const found = pattern.exec(text);
        return found
          ? [{ path, line: index + 1, sentence: `"${found[0].trim()}": ${sentence}` }]
          : [];
      }),
    ),
  );
}
