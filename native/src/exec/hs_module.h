/*
 * A handler in a shared object: HS_HANDLER_MODULE in httpserver.h. Opened once a server; every
 * thread has its own user data if the object asks for it.
 */
#pragma once

#include "exec/hs_handler.h"

/* owner: the server; read-only while handlers run */
typedef struct hs_module {
    void *object; /* NULL: not open */
    bool is_from_memory;
    hs_handler_fn handle;
    int (*init)(void **user_data);
    void (*exit)(void *user_data);
    bool streams_content; /* HS_HANDLER_STREAMS_CONTENT */
} hs_module_t;

/*
 * `memory_fd`: the object in memory (hs_module_store), -1: in the file at `path`. Objects that
 * cannot be loaded from memory, because they need others beside them, are loaded from the file.
 * `symbol` NULL: "hs_handler". HS_ERR_HANDLER with a message if the object cannot be loaded, was
 * built against another version of the header, or has no such function.
 */
HS_NODISCARD int hs_module_open(hs_module_t *module, int memory_fd, const char *path,
                                const char *symbol, hs_errinfo_t *error);

/* Copies the file to sealed memory, so that replacing the file does not affect later loads. A
 * close-on-exec descriptor; -1: not on this system. */
HS_NODISCARD int hs_module_store(const char *path);
void hs_module_close(hs_module_t *module);

hs_handler_factory_t hs_module_factory(hs_module_t *module);
