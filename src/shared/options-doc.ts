import { type OptionSpec, SECTIONS, type Section } from './option-spec.js';
import { envNamesOf, flagOf, keyOf, OPTIONS } from './options.js';

const INTRODUCTION = `# Configuration

<!-- Written from src/shared/options.ts. Do not edit: change the table, then run
     UPDATE_DOCS=1 npm run test:unit -->

\`moonring [options] [app]\`, or \`node dist/master.js [options] [app]\` in a clone.

Every option is a flag, a variable and a key of the JSON config file. The first that is set wins:
flag, variable, config file, default. A variable that is set to nothing counts as not set. Unknown
flags and keys are errors, and so is a \`MOONRING_\` variable that looks like a misspelled option;
other variables are ignored. \`--check\` reports the first mistake without starting anything.

- **Sizes** are bytes, or a whole number with \`k\`, \`m\` or \`g\` (powers of 1024): \`8192\`,
  \`64k\`, \`4m\`.
- **Durations** are a whole number with \`ms\`, \`s\`, \`m\` or \`h\`: \`500ms\`, \`30s\`,
  \`2m\`. \`0\` needs no unit.
- **Switches** are flags without a value, \`on\` or \`off\` in variables, \`true\` or \`false\`
  in the config file.
- **Paths** in flags and variables are relative to the working directory, those in the config file
  to that file.

A config file looks like this:

\`\`\`json
{
  "app": "./app.lua",
  "port": 8080,
  "processes": "auto",
  "maxBody": "4m",
  "headerTimeout": "10s"
}
\`\`\`

\`PORT\`, \`HOST\` and \`WEB_CONCURRENCY\`, which hosting platforms set, are read after our own
variables and before the config file. Variables that Kubernetes makes for a Service called
\`moonring\` (\`MOONRING_SERVICE_HOST\`, \`MOONRING_PORT=tcp://…\`) are not ours and are ignored.
\`MOONRING_ADDON\` is for developers: the native addon to load instead of the built one.
`;

const EXIT_CODES = `## Exit codes

Every exit but that after a drain, \`--help\`, \`--version\` and a \`--check\` without a finding
has a code other than 0 and says in one sentence on standard error what was wrong:
[errors.md](errors.md#exit-codes).
`;

/** docs/configuration.md, complete. */
export function renderConfigurationDoc(): string {
  return [INTRODUCTION, ...SECTIONS.map(renderSection), EXIT_CODES].join('\n');
}

/** The default in words, `null` where there is none. */
export function defaultText(spec: OptionSpec): string | null {
  if (spec.type === 'bool') return null;
  return spec.type === 'path' ? spec.absent : spec.default;
}

/** What may be written for the value: `<size>`, `<jemalloc|system>`. */
export function valueText(spec: OptionSpec): string {
  switch (spec.type) {
    case 'bool':
    case 'switch':
      return '';
    case 'choice':
      return `<${spec.placeholder}>`;
    case 'addresses':
      return '<address>';
    case 'port':
      return spec.word === undefined ? '<port>' : `<port|${spec.word}>`;
    case 'count':
      return spec.word === undefined ? '<n>' : `<n|${spec.word}>`;
    default:
      return `<${spec.type}>`;
  }
}

function renderSection(section: Section): string {
  const rows = OPTIONS.filter((spec: OptionSpec) => spec.section === section).map(renderRow);
  const head = '| Flag | Variable | Key | Default | Meaning |\n|---|---|---|---|---|\n';
  return `## ${section}\n\n${head}${rows.join('')}`;
}

function renderRow(spec: OptionSpec): string {
  const inFile = spec.role === undefined || spec.role === 'argument';
  const standard = defaultText(spec);
  const isWords = spec.type === 'path';
  const cells = [
    code(flagText(spec)),
    envNamesOf(spec).map(code).join(', '),
    inFile ? code(keyOf(spec)) : '',
    standard === null || isWords ? (standard ?? '') : code(standard),
    spec.description + boundsText(spec),
  ];
  return `| ${cells.join(' | ')} |\n`;
}

function flagText(spec: OptionSpec): string {
  if (spec.role === 'argument') return `[${spec.name}]`;
  const short = spec.short === undefined ? '' : `-${spec.short}, `;
  return `${short}${flagOf(spec)} ${valueText(spec)}`.trimEnd().replaceAll('|', '\\|');
}

function boundsText(spec: OptionSpec): string {
  switch (spec.type) {
    case 'count':
    case 'size':
      return ` (${spec.min} to ${spec.max})`;
    case 'duration':
      return ` (at most ${spec.max})`;
    case 'choice':
      return ` (${spec.choices.join(', ')})`;
    default:
      return '';
  }
}

function code(text: string): string {
  return text === '' ? '' : `\`${text}\``;
}
