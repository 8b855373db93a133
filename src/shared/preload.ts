/**
 * Variables that the master sets for a reactor's own loader; the reactor removes them from what it
 * passes on.
 */
export const PRELOAD_VARIABLES = ['LD_PRELOAD', 'DYLD_INSERT_LIBRARIES', 'MALLOC_CONF'] as const;
