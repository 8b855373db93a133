import { resolve as resolvePath } from 'node:path';
import { Argument, Command, CommanderError, Option } from 'commander';
import {
  configPath,
  type Environment,
  type ResolvedConfig,
  resolveConfig,
} from '../../shared/config.js';
import { MoonringError, messageOf } from '../../shared/errors.js';
import type { OptionSpec } from '../../shared/option-spec.js';
import { defaultText, isList, valueText } from '../../shared/option-values.js';
import { flagOf, OPTIONS } from '../../shared/options.js';
import { formatDuration, parseDuration } from '../../shared/units.js';
import { completionScript, SHELLS, type ShellName } from './completion.js';
import { CONTROL_TIMEOUT_MS, type ControlOrder, ORDERS } from './control.js';
import { addSiteOptions, SERVE_APP, type Site, takeSite } from './serve.js';
import { isForTests } from './test.js';

export type CommandLine =
  | { readonly action: 'help'; readonly text: string }
  | { readonly action: 'version' | 'build' }
  | { readonly action: 'init'; readonly directory: string }
  | { readonly action: 'completion'; readonly text: string }
  | {
      readonly action: 'test';
      readonly paths: readonly string[];
      readonly resolved: ResolvedConfig;
    }
  | {
      readonly action: 'health' | 'routes' | 'print-config' | 'top';
      readonly resolved: ResolvedConfig;
    }
  | {
      readonly action: 'serve' | 'check';
      readonly resolved: ResolvedConfig;
      /** Of `moonring serve`. */
      readonly site?: Site;
    }
  | {
      readonly action: 'control';
      readonly order: ControlOrder;
      readonly timeoutMs: number;
      readonly resolved: ResolvedConfig;
    };

export interface CliInputs {
  /** Arguments after the program's name. */
  readonly argv: readonly string[];
  readonly env: Environment;
  readonly cwd: string;
  /** The text of the config file; may throw. */
  readonly readText: (path: string) => string;
}

/** The values of the flags from commander: negated switches are false. */
type Given = Readonly<Record<string, string | boolean>>;

const HELP_WIDTH = 100;
const HELP_FOOTER = `
Every option is also an environment variable (--max-body: MOONRING_MAX_BODY) and a key of the config
file (maxBody). Sizes are written 64k or 4m, durations 500ms, 30s or 2m.
`;

/** Throws ERR_MOONRING_USAGE or ERR_MOONRING_CONFIG. */
export function readCommandLine(inputs: CliInputs): CommandLine {
  let line: CommandLine = { action: 'version' };
  let help = '';
  const program = makeProgram(
    (read) => {
      line = read;
    },
    inputs,
    (text) => {
      help += text;
    },
  );
  try {
    program.parse(inputs.argv, { from: 'user' });
  } catch (cause) {
    if (!(cause instanceof CommanderError)) throw cause;
    if (cause.code === 'commander.helpDisplayed' || cause.code === 'commander.help') {
      return { action: 'help', text: help };
    }
    const message = cause.message.replace(/^error: /, '').replaceAll('\n', ' ');
    throw new MoonringError('ERR_MOONRING_USAGE', message, { cause });
  }
  return line;
}

function makeProgram(
  onRead: (line: CommandLine) => void,
  inputs: CliInputs,
  writeHelp: (text: string) => void,
): Command {
  const program = new Command('moonring')
    .description('HTTP/1.1 server: Lua and C handlers on native reactors, one process per core.')
    .usage('[options] [app]')
    .exitOverride()
    .enablePositionalOptions()
    .addHelpOption(
      new Option('-h, --help', 'Print this text, or the help of a command').helpGroup(
        'Configuration:',
      ),
    )
    .configureOutput({ writeErr: () => {}, writeOut: writeHelp, getOutHelpWidth: () => HELP_WIDTH })
    .configureHelp({ optionTerm })
    .addHelpText('after', HELP_FOOTER)
    .action((app: string | undefined, given: Given) => {
      if (given['version'] === true) return onRead({ action: 'version' });
      onRead({ action: actionOf(given), resolved: resolve(given, app, inputs) });
    });
  for (const spec of OPTIONS) addOption(program, spec);
  program
    .command('build')
    .description('Build the native addon and install its dependencies, unless it is already built')
    .action(() => onRead({ action: 'build' }));
  program
    .command('init')
    .description('Create a new service: a handler with a test, and files to run and deploy it')
    .argument('<directory>', 'a new or an empty directory')
    .action((directory: string) =>
      onRead({ action: 'init', directory: resolvePath(inputs.cwd, directory) }),
    );
  const test = program
    .command('test')
    .description('Run the tests of handlers: *_test.lua files, written with moonring.test')
    .argument('[paths...]', 'files, and directories to search (default: .)')
    .configureHelp({ optionTerm })
    .action((paths: string[], _, command: Command) =>
      onRead({
        action: 'test',
        paths: paths.length === 0 ? ['.'] : paths,
        resolved: resolve(command.optsWithGlobals(), undefined, inputs),
      }),
    );
  for (const spec of OPTIONS) {
    if (spec.name === 'config' || isForTests(spec)) addOption(test, spec);
  }
  const serve = program
    .command('serve')
    .description('Serve the files below a directory, without an app')
    .argument('[directory]', 'the directory', '.')
    .configureHelp({ optionTerm })
    .action((directory: string, _, command: Command) => {
      const { site, rest } = takeSite(
        resolvePath(inputs.cwd, directory),
        command.optsWithGlobals(),
      );
      onRead({ action: actionOf(rest), resolved: resolve(rest, SERVE_APP, inputs), site });
    });
  addSiteOptions(serve);
  for (const spec of OPTIONS) {
    if (spec.section !== 'Application' && spec.name !== 'version') addOption(serve, spec);
  }
  const routes = program
    .command('routes')
    .description('Print the routes of an app: method, pattern, file and line of the function')
    .action((app: string | undefined, _, command: Command) =>
      onRead({ action: 'routes', resolved: resolve(command.optsWithGlobals(), app, inputs) }),
    );
  for (const spec of OPTIONS) if (spec.type !== 'bool') addOption(routes, spec);
  program
    .command('completion')
    .description('Print a shell script that completes commands and options')
    .addArgument(new Argument('<shell>').choices(SHELLS))
    .action((shell: ShellName) =>
      onRead({ action: 'completion', text: completionScript(shell, program) }),
    );
  const health = program
    .command('health')
    .description('Check whether the server with these options is ready: exit code 0 or 1')
    .action((app: string | undefined, _, command: Command) =>
      onRead({ action: 'health', resolved: resolve(command.optsWithGlobals(), app, inputs) }),
    );
  for (const spec of OPTIONS) if (spec.type !== 'bool') addOption(health, spec);
  const control = program
    .command('ctl')
    .description('Send a command to a running server over the Unix socket of its --admin')
    .addArgument(new Argument('<command>').choices(ORDERS))
    .argument('[processes]', 'for scale: the number of reactors')
    .option(
      '--timeout <duration>',
      `How long to wait for the response; 0: no limit (default: ${formatDuration(CONTROL_TIMEOUT_MS)})`,
    )
    .action((order: string, processes: string | undefined, _, command: Command) => {
      const { timeout, ...given } = command.optsWithGlobals<Given>();
      onRead({
        action: 'control',
        order: controlOrder(order, processes),
        timeoutMs: controlTimeoutMs(timeout),
        resolved: resolve(given, undefined, inputs),
      });
    });
  const top = program
    .command('top')
    .description('Show what a running server is doing, once a second; once if output is a pipe')
    .action((_, command: Command) =>
      onRead({ action: 'top', resolved: resolve(command.optsWithGlobals(), undefined, inputs) }),
    );
  for (const spec of OPTIONS) {
    if (spec.name !== 'admin' && spec.name !== 'config') continue;
    addOption(control, spec);
    addOption(top, spec);
  }
  return program;
}

function actionOf(given: Given): 'check' | 'print-config' | 'serve' {
  if (given['printConfig'] === true) return 'print-config';
  return given['check'] === true ? 'check' : 'serve';
}

function addOption(command: Command, spec: OptionSpec): void {
  if (spec.name === 'help') return;
  const standard = defaultText(spec);
  const notes = [
    ...(spec.type === 'choice' ? [spec.choices.join(', ')] : []),
    ...(standard === null ? [] : [`default: ${standard}`]),
  ];
  const description = spec.description + (notes.length === 0 ? '' : ` (${notes.join('; ')})`);
  if (spec.role === 'argument') {
    command.argument(`[${spec.name}]`, description);
    return;
  }
  const option = new Option(flagsOf(spec.name, spec.short, spec), description);
  if (isList(spec)) {
    option.argParser((text: string, texts?: string) =>
      texts === undefined ? text : `${texts},${text}`,
    );
  }
  command.addOption(option.helpGroup(`${spec.section}:`));
  if (spec.type === 'switch') command.addOption(new Option(`--no-${spec.name}`).hideHelp());
  if (spec.oldName !== undefined) {
    command.addOption(new Option(flagsOf(spec.oldName, spec.oldShort, spec)).hideHelp());
  }
}

function flagsOf(name: string, short: string | undefined, spec: OptionSpec): string {
  const letter = short === undefined ? '' : `-${short}, `;
  return `${letter}${flagOf({ name })} ${valueText(spec)}`.trimEnd();
}

/** A switch is listed with the flag that turns it off. */
function optionTerm({ long, flags }: Option): string {
  const isSwitch = OPTIONS.some((spec) => spec.type === 'switch' && flagOf(spec) === long);
  return isSwitch ? `${flags}, ${long?.replace('--', '--no-')}` : flags;
}

function resolve(
  given: Given,
  app: string | undefined,
  { env, cwd, readText }: Omit<CliInputs, 'argv'>,
): ResolvedConfig {
  const flags: Record<string, string> = app === undefined ? {} : { app };
  for (const [key, value] of Object.entries(given)) {
    flags[key] = typeof value === 'string' ? value : value ? 'on' : 'off';
  }
  const path = configPath({ flags, env, cwd });
  const file = path === null ? null : { path, text: readConfigText(path, readText) };
  return resolveConfig({ flags, env, file, cwd });
}

function readConfigText(path: string, readText: (path: string) => string): string {
  try {
    return readText(path);
  } catch (cause) {
    const message = `the config file cannot be read: ${messageOf(cause)}`;
    throw new MoonringError('ERR_MOONRING_CONFIG', message, { cause });
  }
}

function controlOrder(order: string, processes: string | undefined): ControlOrder {
  if (order === 'scale') {
    if (/^[1-9]\d{0,3}$/.test(processes ?? '')) {
      return { type: 'scale', processes: Number(processes) };
    }
    throw new MoonringError(
      'ERR_MOONRING_USAGE',
      'ctl scale takes a number of reactors, at least 1',
    );
  }
  if (processes !== undefined) {
    throw new MoonringError('ERR_MOONRING_USAGE', `ctl ${order} takes no argument`);
  }
  return { type: order as Exclude<ControlOrder['type'], 'scale'> };
}

function controlTimeoutMs(text: string | boolean | undefined): number {
  if (typeof text !== 'string') return CONTROL_TIMEOUT_MS;
  const timeout = parseDuration(text);
  if (timeout.ok) return timeout.value;
  throw new MoonringError('ERR_MOONRING_USAGE', `--timeout: ${timeout.problem}`);
}
