/** Moonring's public API for other programs. */

export type { ReactorStatus, Status, StatusReport } from './master/admin/status.js';
export type { PinoLogger } from './master/log/log.js';
export type { ReadyFields } from './master/runtime/run.js';
export {
  type CreateServerOptions,
  createServer,
  type Server,
  type ServerEvents,
  type TopicSubscription,
} from './master/server.js';
export type { SetOptions, SharedDictionary } from './master/shared-dictionary.js';
export type { ReloadResult } from './master/supervisor/state.js';
export {
  type ConfigInputs,
  type Environment,
  type ResolvedConfig,
  resolveConfig,
  type Source,
} from './shared/config.js';
export { type ErrorCode, MoonringError } from './shared/errors.js';
export type { DictionaryStats, SharedValue, StaleValue } from './shared/native-shared.js';
export type { Config, ServerOptions } from './shared/options.js';
export { version } from './shared/package-info.js';
