import { Command, CommanderError, Option } from 'commander';
import {
  configPath,
  type Environment,
  type ResolvedConfig,
  resolveConfig,
} from '../../shared/config.js';
import { MoonringError, messageOf } from '../../shared/errors.js';
import type { OptionSpec } from '../../shared/option-spec.js';
import { flagOf, OPTIONS } from '../../shared/options.js';
import { defaultText, valueText } from '../../shared/options-doc.js';
import { type ControlOrder, controlOrder } from './control.js';

export type CommandLine =
  | { readonly action: 'help'; readonly text: string }
  | { readonly action: 'version' | 'build' }
  | { readonly action: 'check' | 'health' | 'serve'; readonly resolved: ResolvedConfig }
  | {
      readonly action: 'control';
      readonly order: ControlOrder;
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

const HELP_WIDTH = 100;
const HELP_FOOTER = `
Every option is also a variable (--max-body: MOONRING_MAX_BODY) and a key of the config file
(maxBody). Sizes are written 64k or 4m, durations 500ms, 30s or 2m.

moonring build installs what the native addon needs and builds it, if that has not been done.
moonring health asks the server that these options describe whether it can serve: exit code 0 or
1.
moonring ctl status|reload|drain|scale <n> speaks to the running server whose --admin is the path
of a Unix socket.
`;

/** What the operator wants. Throws ERR_MOONRING_USAGE or ERR_MOONRING_CONFIG with a sentence. */
export function readCommandLine({ argv, env, cwd, readText }: CliInputs): CommandLine {
  const command = makeCommand();
  const isBuild = argv[0] === 'build';
  const asksHealth = argv[0] === 'health';
  const isControl = argv[0] === 'ctl';
  try {
    if (isControl) command.allowExcessArguments().argument('[words...]');
    const isCommand = isBuild || asksHealth || isControl;
    command.parse(isCommand ? argv.slice(1) : argv, { from: 'user' });
  } catch (cause) {
    if (!(cause instanceof CommanderError)) throw cause;
    const sentence = cause.message.replace(/^error: /, '').replaceAll('\n', ' ');
    throw new MoonringError('ERR_MOONRING_USAGE', sentence, { cause });
  }
  const given = command.opts<Record<string, string | true>>();
  if (given['help']) return { action: 'help', text: command.helpInformation() + HELP_FOOTER };
  if (given['version']) return { action: 'version' };
  if (isBuild) {
    if (argv.length === 1) return { action: 'build' };
    throw new MoonringError('ERR_MOONRING_USAGE', 'build takes no options and no app');
  }
  const flags: Record<string, string> = {};
  const app = isControl ? undefined : command.args[0];
  for (const [key, value] of Object.entries(app === undefined ? given : { ...given, app })) {
    // A flag without a value is a switch, or a command that was looked at already.
    flags[key] = value === true ? 'on' : value;
  }
  const path = configPath({ flags, env, cwd });
  const file = path === null ? null : { path, text: readConfigText(path, readText) };
  const resolved = resolveConfig({ flags, env, file, cwd });
  if (isControl) return { action: 'control', order: controlOrder(command.args), resolved };
  if (asksHealth) return { action: 'health', resolved };
  return { action: given['check'] ? 'check' : 'serve', resolved };
}

function readConfigText(path: string, readText: (path: string) => string): string {
  try {
    return readText(path);
  } catch (cause) {
    const sentence = `the config file cannot be read: ${messageOf(cause)}`;
    throw new MoonringError('ERR_MOONRING_CONFIG', sentence, { cause });
  }
}

function makeCommand(): Command {
  const command = new Command('moonring')
    .description('HTTP/1.1 server: Lua handlers on native reactors, one process a core.')
    .usage('[options] [app] | build | health [options] | ctl <order> [options]')
    .helpOption(false)
    .exitOverride()
    .configureOutput({ writeErr: () => {}, getOutHelpWidth: () => HELP_WIDTH });
  for (const spec of OPTIONS) addOption(command, spec);
  return command;
}

function addOption(command: Command, spec: OptionSpec): void {
  const standard = defaultText(spec);
  const choices = spec.type === 'choice' ? `: ${spec.choices.join(', ')}` : '';
  const description =
    spec.description + choices + (standard === null ? '' : ` (default: ${standard})`);
  if (spec.role === 'argument') {
    command.argument(`[${spec.name}]`, description);
    return;
  }
  const short = spec.short === undefined ? '' : `-${spec.short}, `;
  const flags = `${short}${flagOf(spec)} ${valueText(spec)}`.trimEnd();
  command.addOption(new Option(flags, description).helpGroup(`${spec.section}:`));
}
