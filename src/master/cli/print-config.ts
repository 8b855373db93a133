import type { ResolvedConfig, Source } from '../../shared/config.js';
import { writtenText } from '../../shared/option-values.js';
import { type ConfigKey, keyOf, settings } from '../../shared/options.js';
import { table } from './table.js';

/** `--print-config`: a line for each option, as key, value and origin. */
export function printConfig({ config, sources }: ResolvedConfig): string {
  return table(
    settings().map((spec) => {
      const key = keyOf(spec) as ConfigKey;
      return [key, writtenText(spec, config[key]), originText(sources[key])];
    }),
  );
}

function originText(source: Source): string {
  switch (source.type) {
    case 'default':
      return 'default';
    case 'flag':
      return `command line, ${source.flag}`;
    case 'env':
      return `environment, ${source.name}`;
    case 'file':
      return `file, "${source.key}" in ${source.path}`;
  }
}
