import type { Command } from 'commander';
import type { OptionSpec } from '../../shared/option-spec.js';
import { flagOf, OPTIONS } from '../../shared/options.js';

/** `moonring completion`: a shell script, generated from the commands and the table of options. */

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type ShellName = (typeof SHELLS)[number];

interface Flag {
  readonly long: string;
  readonly short: string | undefined;
  readonly description: string;
  readonly takesValue: boolean;
  /** Possible values, `[]`: a file. */
  readonly values: readonly string[];
}

interface Verb {
  /** `''`: none, the server itself. */
  readonly name: string;
  readonly description: string;
  readonly flags: readonly Flag[];
  /** Possible first arguments, `[]`: a file. */
  readonly words: readonly string[];
}

/** The script for a shell; `program` has all commands. */
export function completionScript(shell: ShellName, program: Command): string {
  const verbs = [verbOf(program, ''), ...program.commands.map((each) => verbOf(each, each.name()))];
  switch (shell) {
    case 'bash':
      return bash(verbs);
    case 'zsh':
      return zsh(verbs);
    case 'fish':
      return fish(verbs);
  }
}

function verbOf(command: Command, name: string): Verb {
  const flags = command.options.flatMap(({ long, short, description, hidden, required }) => {
    if (long == null || hidden) return [];
    const flag = { long, short, description: firstClause(description) };
    return [{ ...flag, takesValue: required, values: valuesOf(long) }];
  });
  return {
    name,
    description: firstClause(command.description()),
    flags: [
      ...flags,
      { long: '--help', short: '-h', description: 'Help', takesValue: false, values: [] },
    ],
    words: command.registeredArguments[0]?.argChoices ?? [],
  };
}

function valuesOf(flag: string): readonly string[] {
  const spec = OPTIONS.find((each: OptionSpec) => flagOf(each) === flag);
  if (spec === undefined) return [];
  if (spec.type === 'choice') return spec.choices;
  if ('word' in spec) return [spec.word];
  // `off|on|gzip`: plain words, not a pattern.
  return 'pattern' in spec && /^[\w|]+$/.test(spec.pattern) ? spec.pattern.split('|') : [];
}

/** Up to the first punctuation mark, without shell metacharacters. */
function firstClause(text: string): string {
  return (/^(?:[^;:(.]|\.(?! ))*/.exec(text)?.[0] ?? '').trim().replace(/['"`$\\[\]]/g, '');
}

const HEAD = 'Made by moonring completion';

function bash(verbs: readonly Verb[]): string {
  const names = verbs.flatMap(({ name }) => (name === '' ? [] : [name]));
  const valued = (verb: Verb) =>
    verb.flags
      .filter(({ takesValue }) => takesValue)
      .flatMap(({ long, short }) => (short ? [long, short] : [long]));
  const arms = verbs.map(
    (verb) => `    ${verb.name === '' ? "''" : verb.name})
      flags='${verb.flags.map(({ long }) => long).join(' ')}'
      valued=' ${valued(verb).join(' ')} '
      words='${verb.words.join(' ')}' ;;`,
  );
  const all = new Map(
    verbs.flatMap(({ flags }) =>
      flags.flatMap(({ long, short, values }) =>
        values.length === 0 ? [] : [[short ? `${long}|${short}` : long, values] as const],
      ),
    ),
  );
  const choices = [...all].map(([flag, values]) => `    ${flag}) choices='${values.join(' ')}' ;;`);
  return `# ${HEAD} bash. In ~/.bashrc:  source <(moonring completion bash)
_moonring() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]}
  local command='' flags valued words choices='' at
  for ((at = 1; at < COMP_CWORD; at++)); do
    case \${COMP_WORDS[at]} in
      ${names.join('|')}) command=\${COMP_WORDS[at]}; break ;;
    esac
  done
  case $command in
${arms.join('\n')}
  esac
  # --flag=value comes as three words.
  if [[ $word == = ]]; then
    word=''
  elif [[ $before == = ]]; then
    before=\${COMP_WORDS[COMP_CWORD-2]}
  fi
  case $before in
${choices.join('\n')}
  esac
  if [[ -n $choices && $valued == *" $before "* ]]; then
    COMPREPLY=($(compgen -W "$choices" -- "$word"))
  elif [[ $valued == *" $before "* ]]; then
    COMPREPLY=($(compgen -f -- "$word"))
  elif [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W "$flags" -- "$word"))
  elif [[ -n $words ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$word"))
  elif [[ $command == '' && COMP_CWORD -eq 1 ]]; then
    COMPREPLY=($(compgen -W '${names.join(' ')}' -- "$word") $(compgen -f -- "$word"))
  else
    COMPREPLY=($(compgen -f -- "$word"))
  fi
}
complete -o filenames -F _moonring moonring
`;
}

function zsh(verbs: readonly Verb[]): string {
  const argument = ({ words }: Verb) =>
    words.length === 0 ? "'*:file:_files'" : `'1:word:(${words.join(' ')})' '*:file:_files'`;
  const flag = ({ long, short, description, takesValue, values }: Flag) => {
    const action = values.length === 0 ? '_files' : `(${values.join(' ')})`;
    const value = takesValue ? `:value:${action}` : '';
    const written = takesValue ? `${long}=` : long;
    const one = `'${written}[${description}]${value}'`;
    return short === undefined
      ? one
      : `${one} '${short}${takesValue ? '+' : ''}[${description}]${value}'`;
  };
  const arms = verbs
    .filter(({ name }) => name !== '')
    .map(
      (verb) => `    ${verb.name})
      _arguments -S ${verb.flags.map(flag).join(' ')} ${argument(verb)} ;;`,
    );
  const [server, ...commands] = verbs;
  return `#compdef moonring
# ${HEAD} zsh. In ~/.zshrc, behind compinit:  source <(moonring completion zsh)
_moonring() {
  local -a commands=(
${commands.map(({ name, description }) => `    '${name}:${description}'`).join('\n')}
  )
  if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then
    _describe command commands
    _files
    return
  fi
  case $words[2] in
${arms.join('\n')}
    *)
      _arguments -S ${server?.flags.map(flag).join(' ')} '*:app:_files' ;;
  esac
}
(( $+functions[compdef] )) && compdef _moonring moonring
`;
}

function fish(verbs: readonly Verb[]): string {
  const names = verbs.flatMap(({ name }) => (name === '' ? [] : [name])).join(' ');
  const lines = verbs.flatMap(({ name, description, flags, words }) => {
    const when =
      name === ''
        ? `not __fish_seen_subcommand_from ${names}`
        : `__fish_seen_subcommand_from ${name}`;
    const own = flags.map(({ long, short, description: text, takesValue, values }) => {
      const letter = short === undefined ? '' : ` -s ${short.slice(1)}`;
      const value = values.length > 0 ? ` -x -a '${values.join(' ')}'` : takesValue ? ' -r' : '';
      return `complete -c moonring -n '${when}' -l ${long.slice(2)}${letter}${value} -d '${text}'`;
    });
    const command =
      name === ''
        ? []
        : [`complete -c moonring -n __fish_use_subcommand -a ${name} -d '${description}'`];
    const arguments_ =
      words.length === 0 ? [] : [`complete -c moonring -n '${when}' -f -a '${words.join(' ')}'`];
    return [...command, ...arguments_, ...own];
  });
  return `# ${HEAD} fish. Save it as ~/.config/fish/completions/moonring.fish
${lines.join('\n')}
`;
}
