import { MoonringError } from '../../shared/errors.js';
import type { NativeAddon, SharedRegion, SharedSize } from '../../shared/native.js';
import type { NativeDictionary } from '../../shared/native-shared.js';
import type { Config } from '../../shared/options.js';
import type { DictionaryStatus } from '../admin/status.js';
import { type SharedDictionary, sharedDictionary } from '../shared-dictionary.js';

/** The memory shared by all reactors; it lives as long as the master. */
export interface SharedMemories {
  /** In the order in which reactors inherit them. */
  readonly regions: readonly SharedRegion[];
  /** Throws ERR_MOONRING_SHARED if there is none of this name. */
  dictionary(name: string): SharedDictionary;
  /** With --dev: the reason shown in responses until a reload is accepted; `null`: none. */
  showRejection(reason: string | null): void;
  stats(): DictionaryStatus[];
  close(): void;
}

/** The dictionary with the key `reason`; a configuration cannot declare a name with a dot. */
const REJECTION = 'moonring.rejection';
/** The smallest dictionary; a reason is cut to what a page shows. */
const REJECTION_BYTES = 256 * 1024;
const REASON_LENGTH = 16384;

/** The shared memory of a reactor started with this configuration. */
export function sharedSizes({ shared }: Pick<Config, 'shared'>): SharedSize[] {
  return shared.map(({ name, size }) => ({ kind: 'dictionary', name, size }));
}

export function openSharedMemories(
  native: Pick<NativeAddon, 'SharedDictionary'>,
  config: Pick<Config, 'shared' | 'dev'>,
): SharedMemories {
  const dictionaries = new Map<string, NativeDictionary>();
  let rejection: NativeDictionary | null = null;
  const close = () => {
    for (const dictionary of dictionaries.values()) dictionary.close();
    rejection?.close();
  };
  try {
    for (const { name, size } of config.shared) {
      dictionaries.set(name, new native.SharedDictionary(name, size));
    }
    if (config.dev) rejection = new native.SharedDictionary(REJECTION, REJECTION_BYTES);
  } catch (error) {
    close();
    throw error;
  }
  const regions = [...dictionaries].map(([name, { fd }]): SharedRegion => {
    return { kind: 'dictionary', name, fd };
  });
  if (rejection !== null) regions.push({ kind: 'dictionary', name: REJECTION, fd: rejection.fd });
  return {
    regions,
    dictionary: (name) => {
      const dictionary = dictionaries.get(name);
      if (dictionary !== undefined) return sharedDictionary(name, dictionary);
      const names = [...dictionaries.keys()].join(', ') || 'none';
      const message = `there is no shared dictionary ${JSON.stringify(name)}, only ${names}: add it to the option "shared", like {"${name}": "16m"}`;
      throw new MoonringError('ERR_MOONRING_SHARED', message);
    },
    showRejection: (reason) => {
      if (reason === null) rejection?.delete('reason');
      else rejection?.store(0, 'reason', reason.slice(0, REASON_LENGTH), 0, 0);
    },
    stats: () => [...dictionaries].map(([name, dictionary]) => ({ name, ...dictionary.stats() })),
    close,
  };
}
