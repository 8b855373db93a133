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

static void release_app(void *context)
{
    hs_lua_config_t *app = context;
    hs_snapshot_free(app->files.snapshot);
    hs_free(app);
}

/* The Lua files of one generation. `app_fd` -1: as they are now. */
static int open_app(const hs_source_t *source, int app_fd, hs_generation_source_t *out,
                    hs_errinfo_t *error)
{
    hs_lua_config_t *app = hs_alloc(sizeof(*app));
    if (app == NULL)
        return hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for an app");
    *app = source->lua;
    const char *script = app->files.script;
    app->files.snapshot =
        app_fd >= 0 ? hs_snapshot_map(app_fd, script, error) : hs_snapshot_take(script, error);
    if (app->files.snapshot == NULL) {
        hs_free(app);
        return error->code;
    }
    *out = (hs_generation_source_t){ hs_lua_factory(app), release_app };
    return HS_OK;
}

static int open_lua(hs_source_t *source, const hs_config_t *config, int app_fd,
                    hs_metrics_t *metrics, hs_shared_set_t *shared, hs_topics_t *topics,
                    hs_log_t *log, hs_errinfo_t *error)
{
    if (!copy_text(&source->lua_script, config->lua_script) ||
        !copy_text(&source->lua_root, config->lua_root))
        return hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for a server");
    source->lua = (hs_lua_config_t){
        .files = { .root = source->lua_root, .script = source->lua_script },
        .log = log,
        .metrics = metrics,
        .shared = shared,
        .topics = topics,
        .memory_cap = config->lua_memory_cap,
        .compat = config->lua_compat,
        .error_pages = config->lua_error_pages,
    };
    hs_generation_source_t app;
    int result = open_app(source, app_fd, &app, error);
    if (result != HS_OK)
        return result;
    source->generations = hs_generations_new(app, config->max_generations, log);
    if (source->generations == NULL)
        return hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for a server");
    source->factory = hs_generations_factory(source->generations);
    return HS_OK;
}

int hs_source_open(hs_source_t *source, const hs_config_t *config, int app_fd,
                   hs_metrics_t *metrics, hs_shared_set_t *shared, hs_topics_t *topics,
                   hs_log_t *log, hs_errinfo_t *error)
{
    *source = (hs_source_t){ .c_handler = { config->handler, config->handler_ud } };
    if (config->module_path != NULL) {
        int result = hs_module_open(&source->module, app_fd, config->module_path,
                                    config->module_symbol, error);
        source->factory = hs_module_factory(&source->module);
        return result;
    }
    if (config->lua_script != NULL)
        return open_lua(source, config, app_fd, metrics, shared, topics, log, error);
    source->factory = hs_c_handler_factory(&source->c_handler);
    return HS_OK;
}

int hs_source_prepare(hs_source_t *source, int app_fd, hs_generations_done_fn done, void *context,
                      hs_errinfo_t *error)
{
    if (source->generations == NULL)
        return hs_errinfo_set(error, HS_ERR_STATE, 0, "only Lua handlers can be replaced");
    hs_generation_source_t app;
    int result = open_app(source, app_fd, &app, error);
    return result == HS_OK ? hs_generations_prepare(source->generations, app, done, context, error)
                           : result;
}

uint32_t hs_source_close(hs_source_t *source, uint32_t wait_ms)
{
    if (hs_generations_free(source->generations, wait_ms) > 0)
        return 1;
    source->generations = NULL;
    hs_module_close(&source->module);
    hs_free(source->lua_script);
    hs_free(source->lua_root);
    source->lua_script = source->lua_root = NULL;
    return 0;
}
