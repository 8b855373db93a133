import { fileLines, functionLines, lineColumns } from './house-plan.mjs';

/* How large things may be. The form is that of native-rules.mjs. */

export const sizeRules = [
  { name: 'file-length', check: checkFileLength },
  { name: 'function-length', check: checkFunctionLength },
  { name: 'line-length', check: checkLineLength },
];

const extensionOf = (path) => path.slice(path.lastIndexOf('.') + 1);
const hasLimit = ({ path }) => extensionOf(path) in fileLines;

function checkFileLength(files) {
  return files.filter(hasLimit).flatMap(({ path, lines }) => {
    const limit = fileLines[extensionOf(path)];
    const count = lines.at(-1) === '' ? lines.length - 1 : lines.length;
    if (count <= limit) return [];
    return [
      {
        path,
        line: limit + 1,
        sentence: `${count} lines; a .${extensionOf(path)} file has at most ${limit}`,
      },
    ];
  });
}

function checkLineLength(files) {
  return files.filter(hasLimit).flatMap(({ path, lines }) =>
    lines.flatMap((text, index) => {
      const columns = [...text].length;
      if (columns <= lineColumns || isOneLongString(path, text)) return [];
      return [
        {
          path,
          line: index + 1,
          sentence: `${columns} columns; a line has at most ${lineColumns}`,
        },
      ];
    }),
  );
}

/** Text for people is not cut up: a string may run on where the formatter has no place to break. */
function isOneLongString(path, text) {
  const isComment = /^\s*(\/\/|\/?\*|--)/.test(text);
  if (isComment || /\.(c|h|cc)$/.test(path)) return false;
  return text.replace(/'[^']{20,}'|"[^"]{20,}"|`[^`]{20,}`/g, "''").length <= lineColumns;
}

/**
 * Formatters put a function's first and last line at the margin, so that is where it is measured.
 */
const margins = {
  c: { first: /^\{$/, last: /^\}/ },
  h: { first: /^\{$/, last: /^\}/ },
  cc: { first: /^\{$/, last: /^\}/ },
  ts: { first: /^(export )?(async )?function\b/, last: /^\}/ },
  mjs: { first: /^(export )?(async )?function\b/, last: /^\}/ },
  lua: { first: /^(local )?function\b/, last: /^end\b/ },
};

function checkFunctionLength(files) {
  return files.filter(hasLimit).flatMap(({ path, lines }) => {
    const { first, last } = margins[extensionOf(path)];
    const violations = [];
    let start = -1;
    lines.forEach((text, index) => {
      if (first.test(text)) start = index;
      if (start === -1 || !last.test(text)) return;
      const count = index - start + 1;
      if (count > functionLines) {
        const sentence = `${count} lines; a function has at most ${functionLines}`;
        violations.push({ path, line: start + 1, sentence });
      }
      start = -1;
    });
    return violations;
  });
}
