import type { OptionSpec } from './option-spec.js';

/** Rows of the table of options that are about running the server: see options.ts. */

export const LISTENING_OPTIONS = [
  {
    name: 'uds',
    type: 'path',
    section: 'Listening',
    absent: 'none',
    description: 'Unix socket to listen on, beside TCP; with --port off alone',
  },
  {
    name: 'uds-mode',
    type: 'mode',
    section: 'Listening',
    default: '0660',
    description: 'Permissions of the Unix socket',
  },
  {
    name: 'accept',
    type: 'choice',
    section: 'Listening',
    placeholder: 'strategy',
    choices: ['auto', 'reuseport', 'boss'],
    default: 'auto',
    description:
      'Who spreads connections: the kernel over a socket a reactor, or a thread of the master; auto: reuseport on Linux, boss on macOS',
  },
  {
    name: 'boss-policy',
    type: 'choice',
    section: 'Listening',
    placeholder: 'policy',
    choices: ['round-robin', 'least'],
    default: 'round-robin',
    description: 'With --accept boss: in turns, or to the reactor with the fewest connections',
  },
] as const satisfies readonly OptionSpec[];

export const OPERATION_OPTIONS = [
  {
    name: 'admin',
    type: 'addresses',
    section: 'Operation',
    default: '127.0.0.1:9464',
    description:
      'Where /livez, /readyz, /metrics and /status answer: host:port, a path, both with a comma, or off. moonring ctl needs the path',
  },
  {
    name: 'liveness-grace',
    type: 'duration',
    section: 'Operation',
    max: '24h',
    default: '90s',
    description:
      'A reactor without a sign of life for so long is killed and replaced. 0: never. More than the longest inline handler takes',
  },
  {
    name: 'watch',
    type: 'switch',
    section: 'Operation',
    default: 'off',
    description: 'Reload when a .lua file beside the app changes',
  },
  {
    name: 'pin',
    type: 'switch',
    section: 'Operation',
    default: 'off',
    description: 'Bind the IO thread of each reactor to a core of its own (Linux)',
  },
] as const satisfies readonly OptionSpec[];

export const LOG_OPTIONS = [
  {
    name: 'log-file',
    type: 'path',
    section: 'Logs and memory',
    absent: 'standard output',
    description: 'Where the log goes; opened anew on USR1',
  },
  {
    name: 'access-log',
    type: 'choice',
    section: 'Logs and memory',
    placeholder: 'format',
    choices: ['off', 'json', 'combined'],
    default: 'off',
    description: 'One line a request',
  },
  {
    name: 'access-log-file',
    type: 'path',
    section: 'Logs and memory',
    absent: 'standard output',
    description: 'Where the access log goes; opened anew on USR1',
  },
] as const satisfies readonly OptionSpec[];
