import { dirname, join, normalize } from 'node:path/posix';

import { blankComments, blankCommentsAndStrings } from './blank.mjs';
import {
  bindingForbidden,
  floors,
  publicHeaders,
  reservedHeaders,
  reservedNames,
  standardHeaders,
} from './house-plan.mjs';

/*
 * Rules for native/. Each rule is { name, check }, where check takes the tree and returns
 * violations { path, line, sentence }.
 */

const binding = 'native/binding/';
const sourceRoot = 'native/src/';
const publicRoot = 'native/include/';

const isNative = (path) => /^native\/.*\.(c|h|cc)$/.test(path);

export const nativeRules = [
  { name: 'floors', check: checkFloors },
  { name: 'binding-sight', check: checkBinding },
  { name: 'public-header', check: checkPublicHeader },
  { name: 'reserved-headers', check: checkReservedHeaders },
  { name: 'include-cycle', check: checkCycles },
  { name: 'listed-source', check: checkListed },
  ...reservedNames.map((reserved) => ({
    name: reserved.rule,
    check: (files) => checkReservedName(files, reserved),
  })),
];

function checkFloors(files) {
  return includesOf(files).flatMap(({ path, line, header, quoted }) => {
    const from = floorOf(path);
    if (from === -1 || !quoted || publicHeaders.includes(header)) return [];
    const to = floors.indexOf(header.split('/')[0]);
    const violation = (sentence) => [{ path, line, sentence }];
    if (to === -1)
      return violation(`"${header}" is not written as floor/file.h (${floors.join(', ')})`);
    if (to > from)
      return violation(`${floors[from]} must not include "${header}": ${floors[to]} lies above it`);
    return [];
  });
}

function checkBinding(files) {
  const own = new Set(files.map(({ path }) => path));
  return includesOf(files).flatMap(({ path, line, header, quoted }) => {
    if (!path.startsWith(binding)) return [];
    const isOwn = own.has(normalize(join(dirname(path), header)));
    const allowed = quoted
      ? isOwn || publicHeaders.includes(header)
      : !bindingForbidden.test(header);
    if (allowed) return [];
    return [
      {
        path,
        line,
        sentence: `the binding sees public headers, napi.h and its own, not ${header}`,
      },
    ];
  });
}

function checkPublicHeader(files) {
  return includesOf(files).flatMap(({ path, line, header, quoted }) => {
    if (!path.startsWith(publicRoot)) return [];
    if (quoted ? publicHeaders.includes(header) : standardHeaders.test(header)) return [];
    return [
      { path, line, sentence: `a public header includes standard C headers only, not ${header}` },
    ];
  });
}

function checkReservedHeaders(files) {
  return includesOf(files).flatMap(({ path, line, header }) =>
    reservedHeaders
      .filter((reserved) => reserved.header.test(header) && !reserved.only.test(path))
      .map(({ where }) => ({ path, line, sentence: `only ${where} includes ${header}` })),
  );
}

function checkReservedName(files, { name, only, sentence }) {
  return files
    .filter(({ path }) => path.startsWith(sourceRoot) && !only.test(path))
    .flatMap((file) =>
      blankCommentsAndStrings(file.text)
        .split('\n')
        .flatMap((code, index) => {
          const found = name.exec(code);
          return found
            ? [{ path: file.path, line: index + 1, sentence: `${found[0].trim()}: ${sentence}` }]
            : [];
        }),
    );
}

function checkCycles(files) {
  const known = new Set(files.filter(({ path }) => isNative(path)).map(({ path }) => path));
  const edges = new Map([...known].map((path) => [path, []]));
  for (const { path, line, header, quoted } of includesOf(files)) {
    if (!quoted) continue;
    const target = [
      normalize(join(dirname(path), header)),
      `${sourceRoot}${header}`,
      `native/include/${header}`,
    ].find((candidate) => known.has(candidate));
    if (target) edges.get(path).push({ target, line });
  }
  return findCycles(edges);
}

function findCycles(edges) {
  const done = new Set();
  const violations = [];
  const visit = (path, trail) => {
    if (done.has(path)) return;
    for (const { target, line } of edges.get(path)) {
      const start = [...trail, path].indexOf(target);
      if (start === -1) visit(target, [...trail, path]);
      else {
        const cycle = [...[...trail, path].slice(start), target].join(' -> ');
        violations.push({ path, line, sentence: `includes go round: ${cycle}` });
      }
    }
    done.add(path);
  };
  for (const path of edges.keys()) visit(path, []);
  return violations;
}

/** CMake takes no globs: a source that its CMakeLists.txt does not name is silently left out. */
function checkListed(files) {
  return files
    .filter(({ path }) => /^(native|test\/native)\/CMakeLists\.txt$/.test(path))
    .flatMap(({ path: list, text }) => {
      const top = dirname(list);
      return files
        .map(({ path }) => path)
        .filter((path) => path.startsWith(`${top}/`) && /\.(c|cc)$/.test(path))
        .filter((path) => !text.includes(path.slice(top.length + 1)))
        .map((path) => ({ path, line: 1, sentence: `${list} does not name this file` }));
    });
}

function floorOf(path) {
  return path.startsWith(sourceRoot)
    ? floors.indexOf(path.slice(sourceRoot.length).split('/')[0])
    : -1;
}

function includesOf(files) {
  return files
    .filter(({ path }) => isNative(path))
    .flatMap(({ path, text }) =>
      blankComments(text)
        .split('\n')
        .flatMap((code, index) => {
          const found = /^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)/.exec(code);
          if (!found) return [];
          return [
            { path, line: index + 1, header: found[1] ?? found[2], quoted: found[1] !== undefined },
          ];
        }),
    );
}
