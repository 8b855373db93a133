/** What other programs may use of Moonring today: its configuration, its errors and its version. */
export {
  type ConfigInputs,
  type Environment,
  type ResolvedConfig,
  resolveConfig,
  type Source,
} from './shared/config.js';
export { type ErrorCode, MoonringError } from './shared/errors.js';
export type { Config } from './shared/options.js';
export { version } from './shared/package-info.js';
