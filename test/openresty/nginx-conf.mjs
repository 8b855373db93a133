/**
 * The part of nginx's configuration language used by tests of OpenResty libraries.
 *
 * @typedef {{ name: string, args: string[], block?: Directive[], lua?: string }} Directive
 */

/** Throws if `text` cannot be parsed. A `name_by_lua_block` has its code in `lua`. */
export function parseConf(text) {
  const reader = { text, at: 0 };
  const directives = parseDirectives(reader);
  if (reader.at < text.length) throw new Error('an unexpected }');
  return directives;
}

function parseDirectives(reader) {
  const directives = [];
  for (;;) {
    skipSpace(reader);
    if (reader.at >= reader.text.length || reader.text[reader.at] === '}') return directives;
    directives.push(parseDirective(reader));
  }
}

function parseDirective(reader) {
  const [name, ...args] = [parseWord(reader)];
  for (;;) {
    skipSpace(reader);
    const next = reader.text[reader.at];
    if (next === undefined) throw new Error(`the directive ${name} does not end`);
    if (next === ';') {
      reader.at++;
      return name.endsWith('_by_lua') ? { name, args, lua: args[args.length - 1] } : { name, args };
    }
    if (next === '{') {
      reader.at++;
      if (/_by_lua_block$/.test(name)) return { name, args, lua: parseLua(reader) };
      const block = parseDirectives(reader);
      if (reader.text[reader.at] !== '}') throw new Error(`the block of ${name} does not end`);
      reader.at++;
      return { name, args, block };
    }
    args.push(parseWord(reader));
  }
}

function skipSpace(reader) {
  const space = /(?:\s+|#[^\n]*)*/y;
  space.lastIndex = reader.at;
  space.exec(reader.text);
  reader.at = space.lastIndex;
}

function parseWord(reader) {
  const { text } = reader;
  const quote = text[reader.at];
  let word = '';
  if (quote === '"' || quote === "'") {
    for (reader.at++; reader.at < text.length && text[reader.at] !== quote; reader.at++) {
      if (text[reader.at] === '\\') {
        const escaped = text[++reader.at];
        word +=
          { t: '\t', r: '\r', n: '\n', '"': '"', "'": "'", '\\': '\\' }[escaped] ?? `\\${escaped}`;
      } else word += text[reader.at];
    }
    reader.at++;
    return word;
  }
  while (reader.at < text.length && !/[\s;{]/.test(text[reader.at])) {
    if (text[reader.at] === '\\') word += text[reader.at++];
    if (text.startsWith('${', reader.at)) word += text[reader.at++];
    word += text[reader.at++];
  }
  if (word === '')
    throw new Error(`a word is expected at ${text.slice(reader.at, reader.at + 20)}`);
  return word;
}

/** Lua code up to the closing brace. */
function parseLua(reader) {
  const { text } = reader;
  const start = reader.at;
  const token =
    /--\[(=*)\[[\s\S]*?\]\1\]|--[^\n]*|\[(=*)\[[\s\S]*?\]\2\]|"(?:\\[\s\S]|[^"\\])*"|'(?:\\[\s\S]|[^'\\])*'|[{}]/g;
  token.lastIndex = start;
  let depth = 1;
  for (let found = token.exec(text); found !== null; found = token.exec(text)) {
    if (found[0] === '{') depth++;
    if (found[0] === '}' && --depth === 0) {
      reader.at = token.lastIndex;
      return text.slice(start, found.index);
    }
  }
  throw new Error('Lua code without an end');
}
