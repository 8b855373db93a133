/*
 * A handler in a shared object: HS_HANDLER_MODULE in httpserver.h. Opened once a server; every
 * thread has its own user data if the object asks for it.
 */
#pragma once

#include "exec/hs_handler.h"

/* owner: the server; read-only while handlers run */
typedef struct hs_module {
    void *object; /* NULL: not open */
    hs_handler_fn handle;
    int (*init)(void **user_data);
    void (*exit)(void *user_data);
} hs_module_t;

/* `symbol` NULL: "hs_handler". HS_ERR_HANDLER with a sentence if the file cannot be loaded, was
 * built against another version of the header, or has no such function. */
HS_NODISCARD int hs_module_open(hs_module_t *module, const char *path, const char *symbol,
                                hs_errinfo_t *error);
void hs_module_close(hs_module_t *module);

hs_handler_maker_t hs_module_maker(hs_module_t *module);
