import { dirname, join, normalize } from 'node:path/posix';

import { blankComments, blankCommentsAndStrings } from './blank.mjs';
import { addonLoader, entries, processModules, pureFiles, pureModules } from './house-plan.mjs';

/* Rules for src/, and for TypeScript elsewhere. The form is that of native-rules.mjs. */

export const typescriptRules = [
  { name: 'import-direction', check: checkDirection },
  { name: 'addon-loader', check: checkAddonLoader },
  { name: 'process-owner', check: checkProcessOwner },
  { name: 'entries', check: checkEntries },
  { name: 'pure-files', check: checkPureFiles },
  { name: 'default-export', check: checkDefaultExport },
  { name: 'any', check: checkAny },
];

function checkDirection(files) {
  return importsOf(files).flatMap(({ path, line, target }) => {
    if (target === null) return [];
    const sentence = directionSentence(path, target);
    return sentence ? [{ path, line, sentence }] : [];
  });
}

/** Why `path` must not import `target`, or null if it may. Both are paths below src/. */
function directionSentence(path, target) {
  const from = roomOf(path);
  const to = roomOf(target);
  if (entries.includes(target)) return `${target} is an entry: importing it would start it`;
  if (from === 'shared' && to !== 'shared') return 'shared/ imports nothing of ours but shared/';
  if (from === 'master' && to === 'reactor') return 'the master never imports reactor/';
  if (from === 'reactor' && to === 'master') return 'a reactor never imports master/';
  if (from !== '' && to === '') return `${target} lies above ${from}/`;
  return null;
}

function checkAddonLoader(files) {
  return findInCode(sources(files), /\bcreateRequire\b|\bprocess\.dlopen\b/, {
    except: [addonLoader],
    sentence: `only ${addonLoader} loads the addon`,
  });
}

function checkProcessOwner(files) {
  return importsOf(files).flatMap(({ path, line, name }) =>
    processModules
      .filter((module) => module.name.test(name) && !module.only.includes(path))
      .map(({ only }) => ({ path, line, sentence: `only ${only.join(', ')} imports ${name}` })),
  );
}

function checkEntries(files) {
  return findInCode(sources(files), /\bprocess\.(argv\b|exitCode\s*=[^=]|exit\s*\()/, {
    except: entries,
    sentence: 'only the entries read process.argv and decide the exit code',
  });
}

function checkPureFiles(files) {
  const pure = files.filter(({ path }) => pureFiles.includes(path));
  const imports = importsOf(pure)
    .filter(({ name }) => name.startsWith('node:') && !pureModules.includes(name))
    .map(({ path, line, name }) => ({
      path,
      line,
      sentence: `this file only decides: it does not import ${name}`,
    }));
  const calls = findInCode(pure, outside, {
    except: [],
    sentence: 'this file only decides: time, signals and processes are handed in',
  });
  return [...imports, ...calls];
}

function checkDefaultExport(files) {
  const typescript = files.filter(({ path }) => path.endsWith('.ts') && !path.startsWith('load/'));
  return findInCode(typescript, /^\s*export\s+default\b|\bas\s+default\b/, {
    except: [],
    sentence: 'exports have names',
  });
}

function checkAny(files) {
  const position = /(?:[:<|&,]\s*|\b(?:as|extends|satisfies)\s+)any\b(?!\s*[:(.?\w])/;
  return findInCode(
    files.filter(({ path }) => path.endsWith('.ts')),
    position,
    {
      except: [],
      sentence: 'write unknown and decode it, or say the type',
    },
  );
}

/** What the outside world would tell: the time, the process, a timer. */
const outside =
  /\b(set(Timeout|Interval|Immediate)|(Date|performance)\.now|new Date\(\)|process\.\w+)/;

const sources = (files) =>
  files.filter(({ path }) => path.startsWith('src/') && path.endsWith('.ts'));

/** The folder of src/ that a path is in: 'shared', 'master', 'reactor', or '' for src/ itself. */
function roomOf(path) {
  const parts = path.split('/');
  return parts.length > 2 ? parts[1] : '';
}

function importsOf(files) {
  return sources(files).flatMap(({ path, text }) => {
    const code = blankComments(text);
    const found = code.matchAll(/\bfrom\s*['"]([^'"]+)['"]|\bimport\s*\(?\s*['"]([^'"]+)['"]/g);
    return [...found].map((match) => {
      const name = match[1] ?? match[2];
      const target = name.startsWith('.')
        ? normalize(join(dirname(path), name)).replace(/\.js$/, '.ts')
        : null;
      return { path, line: lineAt(code, match.index), name, target };
    });
  });
}

function findInCode(files, pattern, { except, sentence }) {
  return files
    .filter(({ path }) => !except.includes(path))
    .flatMap(({ path, text }) =>
      blankCommentsAndStrings(text)
        .split('\n')
        .flatMap((code, index) => {
          const found = pattern.exec(code);
          return found
            ? [{ path, line: index + 1, sentence: `"${found[0].trim()}": ${sentence}` }]
            : [];
        }),
    );
}

function lineAt(text, index) {
  return text.slice(0, index).split('\n').length;
}
