import type { OptionSpec } from './option-spec.js';

const LONGEST = '24h';

/** Rows of the table of options that are about time: see options.ts. */
export const TIMEOUT_OPTIONS = [
  {
    name: 'header-timeout',
    type: 'duration',
    section: 'Timeouts',
    max: LONGEST,
    default: '10s',
    description: 'From the first byte of a request to the end of its head; then 408. 0: off',
  },
  {
    name: 'body-timeout',
    type: 'duration',
    section: 'Timeouts',
    max: LONGEST,
    default: '30s',
    description: 'From the end of the head to the end of the body; then 408. 0: off',
  },
  {
    name: 'body-min-rate',
    type: 'size',
    section: 'Timeouts',
    min: '0',
    max: '1g',
    default: '1k',
    description: 'Bytes of a body a second, on average, after its first 10 s; less is answered 408',
  },
  {
    name: 'keepalive-timeout',
    type: 'duration',
    section: 'Timeouts',
    max: LONGEST,
    default: '75s',
    description: 'Between two requests of a connection; then it is closed. 0: off',
  },
  {
    name: 'write-timeout',
    type: 'duration',
    section: 'Timeouts',
    max: LONGEST,
    default: '30s',
    description:
      'For a client that does not take its answer; then the connection is closed. 0: off',
  },
  {
    name: 'handler-timeout',
    type: 'duration',
    section: 'Timeouts',
    max: LONGEST,
    default: '30s',
    description:
      'For a handler on a worker, then 503; one that keeps the reactor is reported, and after twice the time the reactor is replaced. 0: off',
  },
  {
    name: 'drain-delay',
    type: 'duration',
    section: 'Shutdown',
    max: LONGEST,
    default: '0',
    description: 'After TERM, INT or QUIT go on serving for so long before the drain begins',
  },
  {
    name: 'drain-timeout',
    type: 'duration',
    section: 'Shutdown',
    max: LONGEST,
    default: '30s',
    description: 'Time for open requests to finish; then they are cut. 0: cut them at once',
  },
] as const satisfies readonly OptionSpec[];
