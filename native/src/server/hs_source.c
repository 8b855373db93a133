#include "server/hs_source.h"

/* A copy of `text`, NULL for NULL. False: out of memory. */
HS_NODISCARD static bool copy_text(char **copy, const char *text)
{
    *copy = NULL;
    if (text == NULL)
        return true;
    size_t size = strlen(text) + 1;
    *copy = hs_alloc(size);
    if (*copy != NULL)
        memcpy(*copy, text, size);
    return *copy != NULL;
}

int hs_source_open(hs_source_t *source, const hs_config_t *config, hs_log_t *log,
                   hs_errinfo_t *error)
{
    *source = (hs_source_t){ .c_handler = { config->handler, config->handler_ud } };
    if (config->module_path != NULL) {
        int result =
            hs_module_open(&source->module, config->module_path, config->module_symbol, error);
        source->maker = hs_module_maker(&source->module);
        return result;
    }
    if (config->lua_script == NULL) {
        source->maker = hs_c_handler_maker(&source->c_handler);
        return HS_OK;
    }
    if (!copy_text(&source->lua_script, config->lua_script) ||
        !copy_text(&source->lua_root, config->lua_root)) {
        hs_source_close(source);
        return hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for a server");
    }
    source->lua = (hs_lua_config_t){
        .script = source->lua_script,
        .root = source->lua_root,
        .log = log,
        .memory_cap = config->lua_memory_cap,
    };
    source->maker = hs_lua_maker(&source->lua);
    return HS_OK;
}

void hs_source_close(hs_source_t *source)
{
    hs_module_close(&source->module);
    hs_free(source->lua_script);
    hs_free(source->lua_root);
    source->lua_script = source->lua_root = NULL;
}
