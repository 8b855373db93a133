import { type OptionSpec, SECTIONS, type Section } from '../../src/shared/option-spec.js';
import { defaultText, valueText } from '../../src/shared/option-values.js';
import { envNamesOf, flagOf, keyOf, OPTIONS } from '../../src/shared/options.js';

const INTRODUCTION = `# Configuration

<!-- Written from src/shared/options.ts. Do not edit: change the table, then run
     UPDATE_DOCS=1 npm run test:unit -->

\`moonring [options] [app]\`, or \`node dist/master.js [options] [app]\` in a clone.

Every option is a flag, an environment variable and a key of the JSON config file. The first that is
set wins: flag, variable, config file, default. An empty variable counts as not set. Unknown flags
and keys are errors, and so is a \`MOONRING_\` variable that looks like a misspelled option; other
variables are ignored. \`--check\` reports the first error without starting anything;
\`--print-config\` prints the key of each option, its value, and where the value was set.
\`moonring completion bash\`, \`zsh\` or \`fish\` prints a completion script for the shell.

- **Sizes** are a number of bytes, or a whole number with \`k\`, \`m\` or \`g\` (powers of 1024): \`8192\`,
  \`64k\`, \`4m\`.
- **Durations** are a whole number with \`ms\`, \`s\`, \`m\` or \`h\`: \`500ms\`, \`30s\`,
  \`2m\`. \`0\` needs no unit.
- **Switches** are flags without a value, \`--watch\` or \`--no-watch\`; \`on\` or \`off\` in
  variables, \`true\` or \`false\` in the config file.
- **Lists** are separated by commas, or written by repeating the flag; in the config file also as an array.
- **Paths** in flags and variables are relative to the working directory, paths in the config file
  to the directory of that file.

An example of a config file:

\`\`\`json
{
  "app": "./app.lua",
  "port": 8080,
  "processes": "auto",
  "maxBody": "4m",
  "headerTimeout": "10s"
}
\`\`\`

\`PORT\` and \`WEB_CONCURRENCY\`, which hosting platforms set, take precedence over the config file but
not over the \`MOONRING_\` variables. Variables that Kubernetes sets for a Service called \`moonring\`
(\`MOONRING_SERVICE_HOST\`, \`MOONRING_PORT=tcp://…\`) are ignored. \`MOONRING_ADDON\` is for
developers: the native addon to load instead of the built one.

A reload applies every change except to options marked R: these need a restart, and the log names
the ones that were changed.
`;

const EXIT_CODES = `## Exit codes

The exit code is 0 after a drain, \`--help\`, \`--version\` and a \`--check\` that found no error.
Every other exit has its own code and a message on standard error:
[errors.md](errors.md#exit-codes).
`;

/** docs/configuration.md, complete. */
export function renderConfigurationDoc(): string {
  return [INTRODUCTION, ...SECTIONS.map(renderSection), EXIT_CODES].join('\n');
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
    spec.description +
      boundsText(spec) +
      oldNameText(spec) +
      (spec.restart === true ? ' **R**' : ''),
  ];
  return `| ${cells.join(' | ')} |\n`;
}

function flagText(spec: OptionSpec): string {
  if (spec.role === 'argument') return `[${spec.name}]`;
  if (spec.type === 'switch') return `${flagOf(spec)}, --no-${spec.name}`;
  const short = spec.short === undefined ? '' : `-${spec.short}, `;
  return `${short}${flagOf(spec)} ${valueText(spec)}`.trimEnd().replaceAll('|', '\\|');
}

function boundsText(spec: OptionSpec): string {
  switch (spec.type) {
    case 'count':
      return ` (${spec.min} to ${spec.max})`;
    case 'size':
      return ` (${spec.zero === true ? '0, or ' : ''}${spec.min} to ${spec.max})`;
    case 'duration':
      return ` (at most ${spec.max})`;
    case 'choice':
      return ` (${spec.choices.join(', ')})`;
    default:
      return '';
  }
}

function oldNameText({ oldName }: OptionSpec): string {
  return oldName === undefined
    ? ''
    : `. Formerly \`--${oldName}\`, which still works with a warning`;
}

function code(text: string): string {
  return text === '' ? '' : `\`${text}\``;
}
