/*
 * hs_site_t of httpserver.h: exec/hs_static.h for handlers in C, which run on several threads.
 */
#include <pthread.h>

#include "exec/hs_res.h"
#include "exec/hs_static.h"
#include "http/hs_parse.h"
#include "os/hs_clock.h"

/* owner: any thread, under `lock` */
struct hs_site {
    pthread_mutex_t lock;
    hs_file_cache_t cache;
    hs_static_t *files;
};

void hs_site_config_init(hs_site_config_t *config)
{
    *config = (hs_site_config_t){ .index = "index.html" };
}

hs_site_t *hs_site_new(const hs_site_config_t *config, char *error, size_t error_size)
{
    const unsigned all =
        HS_CODING_BIT(HS_CODING_GZIP) | HS_CODING_BIT(HS_CODING_BR) | HS_CODING_BIT(HS_CODING_ZSTD);
    const hs_static_rule_t rule = { "*", config->cache_control };
    const hs_static_config_t files = {
        .root = config->root,
        .indexes = { config->index },
        .codings = config->precompressed ? all : 0,
        .rules = &rule,
        .rule_count = config->cache_control != NULL,
        .charset = "utf-8",
        .shows_dotfiles = config->dotfiles,
    };
    hs_errinfo_t info = { 0 };
    hs_site_t *site = config->root != NULL ? hs_alloc_zeroed(1, sizeof(*site)) : NULL;
    if (site != NULL) {
        hs_file_cache_init(&site->cache);
        site->files = hs_static_new(&site->cache, &files, &info);
    }
    if (site == NULL || site->files == NULL) {
        if (error != NULL && error_size > 0)
            snprintf(error, error_size, "%s",
                     config->root == NULL ? "a site needs a root"
                     : site == NULL       ? "out of memory for a site"
                                          : info.text);
        hs_free(site);
        return NULL;
    }
    pthread_mutex_init(&site->lock, NULL);
    return site;
}

void hs_site_free(hs_site_t *site)
{
    if (site == NULL)
        return;
    hs_static_free(site->files);
    hs_file_cache_clear(&site->cache);
    pthread_mutex_destroy(&site->lock);
    hs_free(site);
}

static int status_of(hs_static_outcome_t outcome)
{
    switch (outcome) {
    case HS_STATIC_BUILT:
        return 0;
    case HS_STATIC_MALFORMED:
        return 400;
    case HS_STATIC_FORBIDDEN:
        return 403;
    case HS_STATIC_MISSING:
    case HS_STATIC_DIRECTORY:
        return 404;
    case HS_STATIC_BUSY:
        return 503;
    case HS_STATIC_FAILED:
    case HS_STATIC_UNSLASHED:
        break;
    }
    return 500;
}

int hs_site_respond(hs_site_t *site, hs_request_t *request, hs_response_t *response,
                    const char *path, size_t length)
{
    (void)request; /* the response's own */
    hs_job_t *job = hs_job_of_response(response);
    pthread_mutex_lock(&site->lock);
    hs_static_outcome_t outcome = hs_static_respond(site->files, job, hs_span(path, length),
                                                    hs_span(NULL, 0), hs_clock_monotonic_ms());
    if (outcome == HS_STATIC_UNSLASHED)
        outcome = hs_static_redirect(job);
    pthread_mutex_unlock(&site->lock);
    return status_of(outcome);
}

void hs_site_handle(hs_request_t *request, hs_response_t *response, void *site)
{
    int status = 405;
    int method = hs_req_method(request);
    if (method == HTTP_GET || method == HTTP_HEAD) {
        size_t length;
        const char *path = hs_req_path(request, &length);
        status = hs_site_respond(site, request, response, path, length);
    }
    if (status == 0) {
        (void)hs_res_send(response);
        return;
    }
    hs_res_replace(response, status);
    if (status != 405)
        return;
    response->sending = HS_SENDING_BUILDING;
    (void)hs_res_header(response, "Allow", "GET, HEAD");
    (void)hs_res_send(response);
}
