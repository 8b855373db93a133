/*
 * Source text with comments, and on demand strings, replaced by spaces, so that rules see code
 * only. Line and column numbers stay as they were. Good for C, C++, TypeScript and JavaScript.
 */

const blank = (text) => text.replace(/[^\n]/g, ' ');

/** A `/` after one of these, or at the start, begins a regular expression and not a division. */
const beforeRegExp = /(^|[(,=:[!&|?{};+\-*%<>~^]|\b(return|typeof|case|in|of))\s*$/;

const tokens = {
  comment: /\/\/[^\n]*|\/\*[\s\S]*?\*\//y,
  string: /"(?:\\[\s\S]|[^"\\\n])*"|'(?:\\[\s\S]|[^'\\\n])*'|`(?:\\[\s\S]|[^`\\])*`/y,
  regExp: /\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\/[a-z]*/y,
};

export function blankComments(text) {
  return scan(text, { strings: false });
}

export function blankCommentsAndStrings(text) {
  return scan(text, { strings: true });
}

function scan(text, { strings }) {
  let result = '';
  let at = 0;
  while (at < text.length) {
    const comment = match('comment', text, at);
    const literal = comment ? null : (match('string', text, at) ?? regExpAt(text, at, result));
    const token = comment ?? literal ?? text[at];
    result += comment || (literal && strings) ? blank(token) : token;
    at += token.length;
  }
  return result;
}

function regExpAt(text, at, before) {
  if (text[at] !== '/' || !beforeRegExp.test(before.slice(-40))) return null;
  return match('regExp', text, at);
}

function match(kind, text, at) {
  const pattern = tokens[kind];
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0] ?? null;
}
