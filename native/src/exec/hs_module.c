#include "exec/hs_module.h"

#include "os/hs_files.h"
#include "os/hs_object.h"
#include "os/hs_shm.h"

#define DEFAULT_SYMBOL "hs_handler"
/* No handler is larger. */
#define OBJECT_MAX ((size_t)1024 * 1024 * 1024)

/* ISO C has no cast from an object pointer to a function pointer; POSIX promises that the bits fit.
 */
static void find_function(void *object, const char *name, void *function)
{
    void *address = hs_object_symbol(object, name);
    memcpy(function, &address, sizeof(address));
}

static int check(hs_module_t *module, const char *path, const char *symbol, hs_errinfo_t *error)
{
    const unsigned *version = hs_object_symbol(module->object, "hs_handler_abi_version");
    if (version == NULL)
        return hs_errinfo_set(error, HS_ERR_HANDLER, 0,
                              "%s does not say which httpserver.h it was built with: put "
                              "HS_HANDLER_MODULE at file scope",
                              path);
    if (*version < 1 || *version > HS_HANDLER_ABI_VERSION)
        return hs_errinfo_set(error, HS_ERR_HANDLER, 0,
                              "%s was built for version %u of the handler interface, this server "
                              "has versions 1 to %u: build it against the server's httpserver.h",
                              path, *version, (unsigned)HS_HANDLER_ABI_VERSION);
    if (module->handle == NULL)
        return hs_errinfo_set(error, HS_ERR_HANDLER, 0, "%s has no function %s", path, symbol);
    if ((module->init == NULL) != (module->exit == NULL))
        return hs_errinfo_set(
            error, HS_ERR_HANDLER, 0,
            "%s has only one of hs_handler_init and hs_handler_exit: define both or neither", path);
    return HS_OK;
}

int hs_module_store(const char *path)
{
    char *text;
    size_t len;
    if (hs_files_read(path, OBJECT_MAX, &text, &len) < 0)
        return -1;
    int fd = hs_shm_store(&(struct iovec){ text, len }, 1, true);
    hs_free(text);
    return fd < 0 ? -1 : fd;
}

int hs_module_open(hs_module_t *module, int memory_fd, const char *path, const char *symbol,
                   hs_errinfo_t *error)
{
    *module = (hs_module_t){ 0 };
    if (memory_fd >= 0)
        module->object = hs_object_open_memory(memory_fd, NULL);
    module->is_from_memory = module->object != NULL;
    if (module->object == NULL)
        module->object = hs_object_open(path, error);
    if (module->object == NULL)
        return HS_ERR_HANDLER;
    if (symbol == NULL)
        symbol = DEFAULT_SYMBOL;
    find_function(module->object, symbol, &module->handle);
    find_function(module->object, "hs_handler_init", &module->init);
    find_function(module->object, "hs_handler_exit", &module->exit);
    const unsigned *streams = hs_object_symbol(module->object, "hs_handler_streams_content");
    module->streams_content = streams != NULL && *streams != 0;
    int result = check(module, path, symbol, error);
    if (result != HS_OK)
        hs_module_close(module);
    return result;
}

void hs_module_close(hs_module_t *module)
{
    hs_object_close(module->object);
    *module = (hs_module_t){ 0 };
}

static int make_handler(void *context, hs_handler_t *handler, hs_errinfo_t *error)
{
    const hs_module_t *module = context;
    hs_c_handler_t *c_handler = hs_alloc(sizeof(*c_handler));
    if (c_handler == NULL)
        return hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for a handler");
    *c_handler = (hs_c_handler_t){ .function = module->handle };
    int failed = module->init == NULL ? 0 : module->init(&c_handler->user_data);
    if (failed != 0) {
        hs_free(c_handler);
        return hs_errinfo_set(error, HS_ERR_HANDLER, 0, "hs_handler_init returned %d", failed);
    }
    *handler = hs_c_handler_as_handler(c_handler);
    return HS_OK;
}

static void end_handler(void *context, hs_handler_t *handler)
{
    const hs_module_t *module = context;
    hs_c_handler_t *c_handler = handler->self;
    if (module->exit != NULL)
        module->exit(c_handler->user_data);
    hs_free(c_handler);
}

hs_handler_factory_t hs_module_factory(hs_module_t *module)
{
    return (hs_handler_factory_t){ make_handler, end_handler, module };
}
