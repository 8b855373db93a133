/*
 * The certificates of a server: read from files or from a supervisor's memory, and passed to its
 * reactors. Thread: any, one at a time; blocks on files.
 */
#pragma once

#include "server/hs_io.h"

/* owner: the server */
typedef struct hs_server_tls_keys {
    char keys[HS_TLS_TICKET_KEYS * HS_TLS_TICKET_KEY_BYTES]; /* where files are read: of this
                                                                process, the newest first */
    size_t count;
} hs_server_tls_keys_t;

/* New connections of these reactors use the files' contents. On failure nothing changes, and the
 * error names the file and what is wrong. */
HS_NODISCARD int hs_server_tls_load(const hs_tls_options_t *options, hs_server_tls_keys_t *keys,
                                    hs_io_t **ios, size_t count, hs_errinfo_t *error);

/* The same for what a supervisor has stored behind `fd`, which is borrowed. */
HS_NODISCARD int hs_server_tls_take(int fd, hs_io_t **ios, size_t count, hs_errinfo_t *error);
