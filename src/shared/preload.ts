/**
 * Variables that the master sets for a reactor's own loader; the reactor removes them from the
 * environment of its children.
 */
export const PRELOAD_VARIABLES = ['LD_PRELOAD', 'DYLD_INSERT_LIBRARIES', 'MALLOC_CONF'] as const;
