#include "exec/hs_lua_files.h"

#include "exec/hs_res.h"
#include "exec/hs_static.h"
#include "http/hs_conditional.h"
#include "http/hs_parse.h"
#include "os/hs_clock.h"

_Static_assert(sizeof(((hs_lua_site_config_t *)0)->indexes) ==
                   sizeof(((hs_static_config_t *)0)->indexes),
               "as many indexes");
_Static_assert(sizeof(((hs_lua_site_config_t *)0)->patterns) ==
                   HS_STATIC_RULES * sizeof(const char *),
               "as many rules");

/* owner: the state */
typedef struct site {
    hs_list_t link;
    hs_static_t *files;
} site_t;

static site_t *site_of(hs_lua_site_t *site)
{
    return (site_t *)(void *)site;
}

static hs_lua_site_t *open_site(void *self, const hs_lua_site_config_t *given)
{
    hs_lua_sites_t *sites = self;
    hs_static_rule_t rules[HS_STATIC_RULES];
    hs_static_config_t config = {
        .root = given->root,
        .charset = given->charset,
        .extension = given->extension,
        .codings = given->codings,
        .rules = rules,
        .rule_count = given->rule_count,
        .shows_dotfiles = given->shows_dotfiles != 0,
    };
    memcpy(config.indexes, given->indexes, sizeof(config.indexes));
    for (size_t i = 0; i < given->rule_count; i++)
        rules[i] = (hs_static_rule_t){ given->patterns[i], given->values[i] };
    sites->api.error = "out of memory";
    if (sites->error == NULL)
        sites->error = hs_alloc_zeroed(1, sizeof(*sites->error));
    site_t *site = hs_alloc_zeroed(1, sizeof(*site));
    if (site == NULL || sites->error == NULL) {
        hs_free(site);
        return NULL;
    }
    site->files = hs_static_new(&sites->cache, &config, sites->error);
    if (site->files == NULL) {
        sites->api.error = sites->error->text;
        hs_free(site);
        return NULL;
    }
    hs_list_init(&site->link);
    hs_list_push_back(&sites->sites, &site->link);
    return (hs_lua_site_t *)(void *)site;
}

static void close_site(hs_lua_site_t *given)
{
    site_t *site = site_of(given);
    hs_list_remove(&site->link);
    hs_static_free(site->files);
    hs_free(site);
}

/* The part of the request's path after this many slashes; false: it has fewer. */
static bool path_behind(const hs_job_t *job, uint32_t slashes, hs_span_t *path)
{
    path->data = hs_req_path(&job->request, &path->len);
    for (; slashes > 0; slashes--) {
        const char *slash = memchr(path->data, '/', path->len);
        if (slash == NULL)
            return false;
        *path = hs_span(slash + 1, path->len - (size_t)(slash + 1 - path->data));
    }
    return true;
}

static int serve(hs_lua_site_t *site, hs_view_t *view, uint32_t slashes)
{
    hs_job_t *job = hs_job_of_view(view);
    if (view->method != HTTP_GET && view->method != HTTP_HEAD)
        return HS_LUA_FILES_METHOD;
    hs_span_t path;
    hs_static_outcome_t outcome = HS_STATIC_UNSLASHED;
    if (path_behind(job, slashes, &path))
        outcome = hs_static_respond(site_of(site)->files, job, path, hs_span(NULL, 0),
                                    hs_clock_monotonic_ms());
    if (outcome == HS_STATIC_UNSLASHED)
        outcome = hs_static_redirect(job);
    if (outcome == HS_STATIC_BUILT)
        (void)hs_res_send(&job->response);
    return (int)outcome;
}

/* The path is not the request's, so there is nothing to redirect. */
static int respond(hs_lua_site_t *site, hs_view_t *view, const char *path, size_t path_len,
                   const char *type, size_t type_len)
{
    hs_static_outcome_t outcome =
        hs_static_respond(site_of(site)->files, hs_job_of_view(view), hs_span(path, path_len),
                          hs_span(type, type_len), hs_clock_monotonic_ms());
    return (int)(outcome == HS_STATIC_UNSLASHED ? HS_STATIC_DIRECTORY : outcome);
}

static int list(void *self, hs_lua_site_t *site, hs_view_t *view, uint32_t slashes)
{
    hs_lua_sites_t *sites = self;
    hs_span_t path;
    bool is_whole;
    sites->listing.len = 0;
    if (!path_behind(hs_job_of_view(view), slashes, &path))
        return HS_ERR_INVALID;
    int result = hs_static_list(site_of(site)->files, path, &sites->listing, &is_whole);
    sites->api.listing = sites->listing.data;
    sites->api.listing_len = sites->listing.len;
    return result == HS_OK ? is_whole : result;
}

static int check(hs_view_t *view, const char *etag, size_t etag_len, double modified_s)
{
    const hs_msg_t *msg = &hs_job_of_view(view)->request.msg;
    hs_validators_t validators = {
        .etag = hs_span(etag, etag_len),
        .modified_s = modified_s >= 0 ? (int64_t)modified_s : HS_MODIFIED_UNKNOWN,
        .now_s = hs_clock_realtime_s(),
    };
    switch (hs_conditional_check(msg, &validators)) {
    case HS_PRECONDITION_MET:
        return 0;
    case HS_PRECONDITION_NOT_MODIFIED:
        return 304;
    case HS_PRECONDITION_FAILED:
        return 412;
    }
    return 0;
}

void hs_lua_sites_init(hs_lua_sites_t *sites)
{
    *sites = (hs_lua_sites_t){
        .api = { .version = HS_LUA_FILES_ABI_VERSION,
                 .config_size = sizeof(hs_lua_site_config_t),
                 .self = sites,
                 .open = open_site,
                 .close = close_site,
                 .serve = serve,
                 .respond = respond,
                 .list = list,
                 .check = check },
    };
    hs_list_init(&sites->sites);
    hs_file_cache_init(&sites->cache);
}

void hs_lua_sites_free(hs_lua_sites_t *sites)
{
    while (!hs_list_empty(&sites->sites))
        close_site((hs_lua_site_t *)(void *)HS_CONTAINER_OF(sites->sites.next, site_t, link));
    hs_file_cache_clear(&sites->cache);
    hs_buf_free(&sites->listing);
    hs_free(sites->error);
}
