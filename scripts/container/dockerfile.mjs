import { SetupError } from '../lib/setup-error.mjs';

/**
 * Reads the part of the Dockerfile language that our Dockerfile is written in. Anything else is
 * refused: a step that the container check cannot execute would be a step that nobody proved.
 *
 * @typedef {{ keyword: string, text: string }} Instruction
 * @typedef {{ from: string | null, sources: string[], target: string }} Copy
 * @typedef {{ base: string, name: string | null, instructions: Instruction[] }} Stage
 */

const known = [
  'RUN',
  'COPY',
  'ENV',
  'WORKDIR',
  'USER',
  'EXPOSE',
  'STOPSIGNAL',
  'HEALTHCHECK',
  'ENTRYPOINT',
];

/** @returns {Stage[]} at least one; the last is the image */
export function parseDockerfile(text) {
  const stages = [];
  for (const { keyword, text: rest } of instructionsOf(text)) {
    if (keyword === 'FROM') stages.push(stageOf(rest));
    else if (!known.includes(keyword)) throw refusal(`${keyword} ${rest}`);
    else if (stages.length === 0) throw refusal(`${keyword} before FROM`);
    else stages.at(-1).instructions.push({ keyword, text: rest });
  }
  if (stages.length === 0) throw refusal('no FROM');
  return stages;
}

/** One logical line each: continued lines are joined as a shell would, comments are dropped. */
function instructionsOf(text) {
  const lines = text.split('\n').filter((line) => !/^\s*#/.test(line));
  const logical = lines.join('\n').replace(/\\\n/g, ' ').split('\n');
  return logical
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .map((line) => {
      const [, keyword, rest] = /^(\S+)\s*(.*)$/.exec(line);
      return { keyword: keyword.toUpperCase(), text: rest };
    });
}

function stageOf(text) {
  const match = /^(\S+)(?:\s+AS\s+(\S+))?$/i.exec(text);
  if (!match || match[1].startsWith('--')) throw refusal(`FROM ${text}`);
  return { base: match[1], name: match[2] ?? null, instructions: [] };
}

/** @returns {Copy} */
export function parseCopy(text) {
  const words = text.split(/\s+/);
  const flags = words.filter((word) => word.startsWith('--'));
  const paths = words.filter((word) => !word.startsWith('--'));
  const from = flags.map((flag) => /^--from=(\S+)$/.exec(flag)?.[1] ?? null);
  if (from.includes(null) || paths.length < 2 || /["*?[]/.test(text)) throw refusal(`COPY ${text}`);
  const target = paths.at(-1);
  if (paths.length > 2 && !target.endsWith('/')) throw refusal(`COPY ${text}`);
  return { from: from[0] ?? null, sources: paths.slice(0, -1), target };
}

/** `NAME=value NAME=value`, unquoted. */
export function parseEnv(text) {
  if (/["'\\$]/.test(text)) throw refusal(`ENV ${text}`);
  return Object.fromEntries(
    text.split(/\s+/).map((word) => {
      const match = /^(\w+)=(.*)$/.exec(word);
      if (!match) throw refusal(`ENV ${text}`);
      return [match[1], match[2]];
    }),
  );
}

/** `["program", "argument"]`; the shell form would put a shell between us and the signals. */
export function parseExecForm(text) {
  try {
    const words = JSON.parse(text);
    if (Array.isArray(words) && words.every((word) => typeof word === 'string')) return words;
  } catch {
    // Said below.
  }
  throw refusal(`${text} (only the exec form is accepted)`);
}

/** What a container of the image runs with. */
export function imageConfig({ instructions }) {
  const last = (keyword) => instructions.findLast((step) => step.keyword === keyword)?.text ?? null;
  const health = /^(?:--\S+\s+)*CMD\s+(.*)$/.exec(last('HEALTHCHECK') ?? '');
  return {
    env: Object.assign(
      {},
      ...instructions.filter((step) => step.keyword === 'ENV').map((step) => parseEnv(step.text)),
    ),
    workdir: last('WORKDIR') ?? '/',
    user: last('USER') ?? 'root',
    port: Number(last('EXPOSE')),
    stopSignal: last('STOPSIGNAL') ?? 'SIGTERM',
    entrypoint: parseExecForm(last('ENTRYPOINT') ?? ''),
    health: parseExecForm(health?.[1] ?? ''),
  };
}

/**
 * True for what a .dockerignore lets through: the last pattern that names the path or a folder
 * above it decides. Patterns are plain names and a lone *.
 */
export function readDockerignore(text) {
  const patterns = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
  const odd = patterns.find((pattern) => pattern !== '*' && /[*?[]/.test(pattern));
  if (odd) throw refusal(`.dockerignore: ${odd}`);
  return (path) => {
    const decides = patterns.findLast((pattern) => {
      const name = pattern.replace(/^!/, '');
      return name === '*' || path === name || path.startsWith(`${name}/`);
    });
    return decides === undefined || decides.startsWith('!');
  };
}

function refusal(what) {
  return new SetupError(`the container check cannot read this part of the Dockerfile: ${what}`);
}
