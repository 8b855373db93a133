#include "server/hs_server_tls.h"

#include <errno.h>

#include "os/hs_files.h"
#include "os/hs_shm.h"

#define FILE_MAX (1024 * 1024)

static int give(const hs_tls_material_t *material, hs_io_t **ios, size_t count, hs_errinfo_t *error)
{
    /* Each reactor has its own: data of one thread needs no lock. */
    hs_tls_server_t **servers = hs_alloc_zeroed(count, sizeof(hs_tls_server_t *));
    if (servers == NULL)
        return hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for TLS");
    size_t made = 0;
    while (made < count) {
        servers[made] = hs_tls_server_new(material, error);
        if (servers[made] == NULL)
            break;
        made++;
    }
    for (size_t i = 0; i < made; i++) {
        if (made == count)
            hs_io_set_tls(ios[i], servers[i]);
        else
            hs_tls_server_leave(servers[i]);
    }
    hs_free(servers);
    return made == count ? HS_OK : error->code;
}

static int read_file(const char *path, hs_span_t *text, char **owned, hs_errinfo_t *error)
{
    size_t len;
    int result = hs_files_read(path, FILE_MAX, owned, &len);
    if (result < 0)
        return hs_errinfo_set(error, HS_ERR_SYSTEM, -result, "%s cannot be read: %s", path,
                              strerror(-result));
    *text = hs_span(*owned, len);
    return HS_OK;
}

/* Tickets that were given out stay valid through this many loads. */
static bool renew_keys(hs_server_tls_keys_t *keys)
{
    memmove(keys->keys + HS_TLS_TICKET_KEY_BYTES, keys->keys,
            sizeof(keys->keys) - HS_TLS_TICKET_KEY_BYTES);
    keys->count = hs_min(keys->count + 1, HS_TLS_TICKET_KEYS);
    return hs_tls_ticket_key_make(keys->keys);
}

int hs_server_tls_load(const hs_tls_options_t *options, hs_server_tls_keys_t *keys, hs_io_t **ios,
                       size_t count, hs_errinfo_t *error)
{
    hs_tls_material_t material = { .requires_client = options->requires_client };
    char *texts[3 * HS_TLS_PAIRS_MAX + 1] = { NULL };
    size_t text_count = 0;
    if (options->certificate_count == 0 || options->certificate_count > HS_TLS_PAIRS_MAX)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0, "%zu certificates are not 1 to %d",
                              options->certificate_count, HS_TLS_PAIRS_MAX);
    int result = HS_OK;
    for (size_t i = 0; i < options->certificate_count && result == HS_OK; i++) {
        const hs_tls_certificate_t *files = &options->certificates[i];
        hs_tls_pair_t *pair = &material.pairs[material.pair_count++];
        result = read_file(files->certificate, &pair->certificate, &texts[text_count++], error);
        if (result == HS_OK)
            result = read_file(files->key, &pair->key, &texts[text_count++], error);
        if (result == HS_OK && files->ocsp != NULL)
            result = read_file(files->ocsp, &material.ocsp[material.ocsp_count++],
                               &texts[text_count++], error);
    }
    if (result == HS_OK && options->client_ca != NULL)
        result = read_file(options->client_ca, &material.client_ca, &texts[text_count++], error);
    hs_server_tls_keys_t renewed = *keys;
    if (result == HS_OK && !renew_keys(&renewed))
        result = hs_errinfo_set(error, HS_ERR_SYSTEM, 0, "no random bytes for TLS");
    material.ticket_keys = hs_span(renewed.keys, renewed.count * HS_TLS_TICKET_KEY_BYTES);
    if (result == HS_OK)
        result = give(&material, ios, count, error);
    if (result == HS_OK)
        *keys = renewed;
    for (size_t i = 0; i < text_count; i++)
        hs_free(texts[i]);
    return result;
}

int hs_server_tls_take(int fd, hs_io_t **ios, size_t count, hs_errinfo_t *error)
{
    size_t size = hs_shm_size(fd);
    const void *memory = NULL;
    int mapped = size > 0 ? hs_shm_map_read(fd, size, &memory) : -EINVAL;
    if (mapped < 0)
        return hs_errinfo_set(error, HS_ERR_SYSTEM, -mapped, "cannot map the certificates: %s",
                              strerror(-mapped));
    hs_tls_material_t material;
    int result = hs_tls_material_read(&material, hs_span(memory, size))
                     ? give(&material, ios, count, error)
                     : hs_errinfo_set(error, HS_ERR_INVALID, 0, "unreadable certificates");
    hs_shm_unmap(memory, size);
    return result;
}
