#include "exec/hs_static.h"

#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>

#include "exec/hs_res.h"
#include "http/hs_conditional.h"
#include "http/hs_date.h"
#include "http/hs_file_path.h"
#include "http/hs_mime.h"
#include "http/hs_parse.h"
#include "os/hs_clock.h"
#include "os/hs_page_cache.h"

#define ETAG_MAX 64
/* How much of a file that is not cached here is checked for in the page cache before sending. */
#define LOOK_BYTES ((uint64_t)1024 * 1024)
/* Content up to this size is copied after the head of its response (conn/hs_http1.c). */
#define COPY_BYTES ((uint64_t)16 * 1024)
#define LAST_SECOND INT64_C(253402300799) /* 9999-12-31 23:59:59 */

/* owner: whoever has made it */
struct hs_static {
    hs_file_cache_t *cache; /* borrowed */
    hs_beneath_t root;
    hs_file_info_t root_info; /* of the open directory */
    uint64_t root_checked_ms;
    hs_static_config_t config; /* strings and rules are copies */
    hs_static_rule_t rules[HS_STATIC_RULES];
    hs_buf_t strings;
};

/* The server's order of preference at equal weights. */
static const hs_coding_t preferred[] = { HS_CODING_BR, HS_CODING_ZSTD, HS_CODING_GZIP };
static const char *const suffixes[HS_CODINGS] = { "", ".gz", ".br", ".zst" };
_Static_assert(HS_CODING_GZIP == 1 && HS_CODING_BR == 2 && HS_CODING_ZSTD == 3, "as in suffixes");

/* ---- The site. ---- */

static size_t size_of(const char *text)
{
    return text != NULL ? strlen(text) + 1 : 0;
}

/* Room for all of them was reserved. */
static const char *keep(hs_static_t *site, const char *text)
{
    if (text == NULL)
        return NULL;
    char *kept = site->strings.data + site->strings.len;
    hs_buf_put(&site->strings, text, size_of(text));
    return kept;
}

static bool copy_config(hs_static_t *site, const hs_static_config_t *config)
{
    size_t room = size_of(config->root) + size_of(config->charset) + size_of(config->extension);
    for (size_t i = 0; i < HS_STATIC_INDEXES; i++)
        room += size_of(config->indexes[i]);
    for (size_t i = 0; i < config->rule_count; i++)
        room += size_of(config->rules[i].pattern) + size_of(config->rules[i].value);
    if (!hs_buf_reserve(&site->strings, room + 1))
        return false;
    site->config = *config;
    site->config.root = keep(site, config->root);
    site->config.charset = keep(site, config->charset);
    site->config.extension = keep(site, config->extension);
    for (size_t i = 0; i < HS_STATIC_INDEXES; i++)
        site->config.indexes[i] = keep(site, config->indexes[i]);
    for (size_t i = 0; i < config->rule_count; i++)
        site->rules[i] = (hs_static_rule_t){ keep(site, config->rules[i].pattern),
                                             keep(site, config->rules[i].value) };
    site->config.rules = site->rules;
    return true;
}

/* Reopens the directory: a deployment may have replaced it, or the link to it. */
static int open_root(hs_static_t *site)
{
    hs_beneath_t root;
    int result = hs_beneath_open_root(&root, site->config.root);
    if (result < 0)
        return result;
    hs_file_info_t info;
    result = hs_file_stat(root.fd, &info);
    if (result < 0) {
        hs_beneath_close_root(&root);
        return result;
    }
    hs_beneath_close_root(&site->root);
    site->root = root;
    site->root_info = info;
    return 0;
}

static void check_root(hs_static_t *site, uint64_t now_ms)
{
    hs_file_info_t now;
    if (site->config.root == NULL || now_ms - site->root_checked_ms < HS_FILE_CACHE_FRESH_MS)
        return;
    site->root_checked_ms = now_ms;
    if (hs_file_stat_path(site->config.root, &now) < 0 ||
        (now.device == site->root_info.device && now.inode == site->root_info.inode))
        return;
    if (open_root(site) == 0)
        hs_file_cache_remove_all_of(site->cache, site);
}

hs_static_t *hs_static_new(hs_file_cache_t *cache, const hs_static_config_t *config,
                           hs_errinfo_t *error)
{
    HS_ASSERT(config->rule_count <= HS_STATIC_RULES);
    hs_static_t *site = hs_alloc_zeroed(1, sizeof(*site));
    if (site == NULL || !copy_config(site, config)) {
        hs_free(site);
        hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for a directory of files");
        return NULL;
    }
    site->cache = cache;
    site->root.fd = -1;
    int result = config->root != NULL ? open_root(site) : 0;
    if (result < 0) {
        hs_errinfo_set(error, HS_ERR_SYSTEM, -result, "the directory %s cannot be opened: %s",
                       config->root, strerror(-result));
        hs_static_free(site);
        return NULL;
    }
    return site;
}

void hs_static_free(hs_static_t *site)
{
    if (site == NULL)
        return;
    hs_file_cache_remove_all_of(site->cache, site);
    hs_beneath_close_root(&site->root);
    hs_buf_free(&site->strings);
    hs_free(site);
}

/* ---- From a path to its resource. ---- */

static hs_static_outcome_t outcome_of(int error)
{
    switch (-error) {
    case EACCES:
    case EPERM:
        return HS_STATIC_FORBIDDEN;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return HS_STATIC_BUSY;
    case EIO:
    case ESTALE:
        return HS_STATIC_FAILED;
    default: /* it does not exist, its name leads out, it is a socket, its name is too long … */
        return HS_STATIC_MISSING;
    }
}

static int open_file(hs_static_t *site, const char *name, hs_file_info_t *info)
{
    int fd = hs_beneath_open(&site->root, name);
    if (fd == -EMFILE || fd == -ENFILE) {
        hs_file_cache_give_way(site->cache);
        fd = hs_beneath_open(&site->root, name);
    }
    if (fd < 0)
        return fd;
    int result = hs_file_stat(fd, info);
    if (result == 0 && info->kind == HS_FILE_OTHER)
        result = -ENOENT;
    if (result == 0)
        return fd;
    hs_file_close(fd);
    return result;
}

/* The name of an open file, which may grow. False: there is no room. */
static bool append_name(hs_file_path_t *path, const char *text)
{
    size_t len = strlen(text);
    if (len > HS_FILE_PATH_MAX - 1 - path->len)
        return false;
    memcpy(path->name + path->len, text, len + 1);
    path->len += len;
    return true;
}

static void cut_name(hs_file_path_t *path, size_t len)
{
    path->len = len;
    path->name[len] = '\0';
}

/* The index of a directory: a descriptor, with `path` its name. */
static int open_index(hs_static_t *site, hs_file_path_t *path, hs_file_info_t *info)
{
    size_t len = path->len;
    for (size_t i = 0; i < HS_STATIC_INDEXES && site->config.indexes[i] != NULL; i++) {
        if ((len > 0 && !append_name(path, "/")) || !append_name(path, site->config.indexes[i]))
            return -ENOENT;
        int fd = open_file(site, path->name, info);
        if (fd >= 0 && info->kind == HS_FILE_REGULAR)
            return fd;
        hs_file_close(fd);
        cut_name(path, len);
        if (fd < 0 && outcome_of(fd) != HS_STATIC_MISSING)
            return fd;
    }
    return -ENOENT;
}

/* /about is about.html. */
static int open_with_extension(hs_static_t *site, hs_file_path_t *path, hs_file_info_t *info)
{
    if (path->is_directory || path->len == 0 || !append_name(path, site->config.extension))
        return -ENOENT;
    int fd = open_file(site, path->name, info);
    if (fd < 0 || info->kind == HS_FILE_REGULAR)
        return fd;
    hs_file_close(fd);
    return -ENOENT;
}

/* What a path currently leads to. */
typedef struct found {
    hs_static_outcome_t outcome; /* BUILT: the others count */
    hs_resource_kind_t kind;
    int fd; /* FILE */
    hs_file_info_t info;
    hs_file_path_t path; /* of the file */
} found_t;

static void find_on_disk(hs_static_t *site, hs_span_t raw, found_t *found)
{
    found->outcome = HS_STATIC_BUILT;
    found->kind = HS_RESOURCE_FILE;
    hs_file_path_t *path = &found->path;
    if (site->config.root == NULL) {
        cut_name(path, 0);
        path->is_directory = false;
        if (raw.len >= HS_FILE_PATH_MAX || memchr(raw.data, '\0', raw.len) != NULL) {
            found->outcome = HS_STATIC_MISSING;
            return;
        }
        memcpy(path->name, raw.data, raw.len);
        cut_name(path, raw.len);
    } else {
        hs_file_path_outcome_t decoded =
            hs_file_path_decode(raw, !site->config.shows_dotfiles, path);
        if (decoded != HS_FILE_PATH_OK) {
            found->outcome =
                decoded == HS_FILE_PATH_MALFORMED ? HS_STATIC_MALFORMED : HS_STATIC_MISSING;
            return;
        }
    }
    int fd = open_file(site, path->name, &found->info);
    if (fd >= 0 && found->info.kind == HS_FILE_DIRECTORY) {
        hs_file_close(fd);
        found->kind = path->is_directory ? HS_RESOURCE_DIRECTORY : HS_RESOURCE_UNSLASHED;
        fd = path->is_directory ? open_index(site, path, &found->info) : -EISDIR;
        if (fd >= 0)
            found->kind = HS_RESOURCE_FILE;
        else if (outcome_of(fd) == HS_STATIC_MISSING)
            return;
    } else if (fd >= 0 && path->is_directory) {
        hs_file_close(fd);
        fd = -ENOTDIR;
    } else if (fd < 0 && site->config.extension != NULL && outcome_of(fd) == HS_STATIC_MISSING) {
        fd = open_with_extension(site, path, &found->info);
    }
    found->fd = fd;
    if (fd < 0)
        found->outcome = outcome_of(fd);
}

/* ---- The fields of a file's response. ---- */

static bool put_line(hs_buf_t *head, const char *name, const char *value)
{
    return hs_buf_append(head, name, strlen(name)) && hs_buf_append(head, ": ", 2) &&
           hs_buf_append(head, value, strlen(value)) && hs_buf_append(head, "\r\n", 2);
}

static const char *cache_control_of(const hs_static_t *site, const char *name)
{
    for (size_t i = 0; i < site->config.rule_count; i++)
        if (fnmatch(site->rules[i].pattern, name, 0) == 0)
            return site->rules[i].value;
    return NULL;
}

/* Strong: the content cannot change without a change of the modification time, in nanoseconds, or
 * the size. */
static bool put_etag(hs_file_t *file, hs_coding_t coding)
{
    char etag[ETAG_MAX];
    int len = snprintf(etag, sizeof(etag), "\"%" PRIx64 "-%" PRIx64 "%s%s\"",
                       (uint64_t)file->info.modified_ns, file->info.size,
                       coding == HS_CODING_IDENTITY ? "" : "-",
                       coding == HS_CODING_IDENTITY ? "" : hs_coding_name(coding));
    file->etag_at = sizeof("ETag: ") - 1;
    file->etag_len = (size_t)len;
    return put_line(&file->head, "ETag", etag);
}

/* RFC 9110 §8.8.2.1: never later than the response's Date. */
static bool put_last_modified(hs_file_t *file)
{
    int64_t second = file->info.modified_ns / 1000000000;
    int64_t now_s = hs_clock_realtime_s();
    file->modified_s = HS_MODIFIED_UNKNOWN;
    if (second > now_s)
        second = now_s;
    if (second < 0 || second > LAST_SECOND)
        return true;
    file->modified_s = second;
    hs_date_t date = { 0 };
    hs_date_set(&date, second);
    char text[HS_DATE_LEN + 1];
    memcpy(text, date.line + sizeof("Date: ") - 1, HS_DATE_LEN);
    text[HS_DATE_LEN] = '\0';
    return put_line(&file->head, "Last-Modified", text);
}

static bool put_type(hs_file_t *file, const hs_static_t *site, const hs_mime_type_t *mime)
{
    hs_buf_t *head = &file->head;
    if (mime == NULL)
        return put_line(head, "Content-Type", "application/octet-stream");
    static const char name[] = "Content-Type: ";
    static const char parameter[] = "; charset=";
    bool put = hs_buf_append(head, name, sizeof(name) - 1) &&
               hs_buf_append(head, mime->type, strlen(mime->type));
    if (put && mime->is_utf8 && site->config.charset != NULL)
        put = hs_buf_append(head, parameter, sizeof(parameter) - 1) &&
              hs_buf_append(head, site->config.charset, strlen(site->config.charset));
    return put && hs_buf_append(head, "\r\n", 2);
}

/* `name` is that of the file without coding. */
static bool put_head(hs_static_t *site, const hs_resource_t *resource, hs_coding_t coding,
                     const char *name, const hs_mime_type_t *mime)
{
    hs_file_t *file = resource->files[coding];
    hs_buf_t *head = &file->head;
    head->len = 0;
    const char *cache_control = cache_control_of(site, name);
    bool put = put_etag(file, coding) && put_last_modified(file);
    if (put && cache_control != NULL)
        put = put_line(head, "Cache-Control", cache_control);
    if (put && resource->name != NULL)
        put = put_line(head, "Vary", "Accept-Encoding");
    file->brief_len = head->len;
    put = put && put_type(file, site, mime);
    if (put && coding != HS_CODING_IDENTITY)
        put = put_line(head, "Content-Encoding", hs_coding_name(coding));
    return put && put_line(head, "Accept-Ranges", "bytes") &&
           put_line(head, "X-Content-Type-Options", "nosniff");
}

/* ---- Keeping resources. ---- */

/* Sets the file of a coding to what was found: the cache takes over `fd`, or it was closed. False:
 * out of memory.
 */
static bool take_file(hs_static_t *site, hs_resource_t *resource, hs_coding_t coding, int fd,
                      const hs_file_info_t *info, const char *name, const hs_mime_type_t *mime)
{
    const hs_file_t *before = resource->files[coding];
    if (before != NULL && hs_file_is_same(&before->info, info)) {
        hs_file_close(fd);
        return true;
    }
    hs_file_cache_drop(site->cache, resource, coding);
    return hs_file_cache_put(site->cache, resource, coding, fd, info) != NULL &&
           put_head(site, resource, coding, name, mime);
}

/* The precompressed siblings of a resource that may have some. False: out of memory. */
static HS_NOINLINE bool look_for_siblings(hs_static_t *site, hs_resource_t *resource)
{
    char name[HS_FILE_PATH_MAX + 8];
    size_t len = strlen(resource->name);
    const hs_mime_type_t *mime = hs_mime_of_path(hs_span(resource->name, len));
    memcpy(name, resource->name, len);
    resource->looked_for = true;
    resource->offered = 0;
    for (size_t i = 0; i < sizeof(preferred) / sizeof(preferred[0]); i++) {
        hs_coding_t coding = preferred[i];
        if ((site->config.codings & HS_CODING_BIT(coding)) == 0)
            continue;
        memcpy(name + len, suffixes[coding], strlen(suffixes[coding]) + 1);
        hs_file_info_t info;
        int fd = open_file(site, name, &info);
        if (fd < 0 || info.kind != HS_FILE_REGULAR) {
            hs_file_close(fd);
            hs_file_cache_drop(site->cache, resource, coding);
            continue;
        }
        if (!take_file(site, resource, coding, fd, &info, resource->name, mime))
            return false;
        resource->offered |= HS_CODING_BIT(coding);
    }
    return true;
}

static bool keep_name(hs_resource_t *resource, const hs_file_path_t *path)
{
    hs_free(resource->name);
    resource->name = hs_alloc(path->len + 1);
    if (resource->name != NULL)
        memcpy(resource->name, path->name, path->len + 1);
    return resource->name != NULL;
}

/* Updates the resource to what was found. False: out of memory, it must be removed. */
static bool fill(hs_static_t *site, hs_resource_t *resource, found_t *found)
{
    resource->kind = found->kind;
    const hs_file_path_t *path = &found->path;
    const hs_mime_type_t *mime = hs_mime_of_path(hs_span(path->name, path->len));
    bool is_file = found->kind == HS_RESOURCE_FILE;
    if (is_file && site->config.codings != 0 && mime != NULL && mime->is_compressible) {
        if (!keep_name(resource, path)) {
            hs_file_close(found->fd);
            return false;
        }
    } else {
        hs_free(resource->name);
        resource->name = NULL;
        resource->offered = 0;
        for (hs_coding_t coding = HS_CODING_IDENTITY + 1; coding < HS_CODINGS; coding++)
            hs_file_cache_drop(site->cache, resource, coding);
    }
    if (!is_file) {
        hs_file_cache_drop(site->cache, resource, HS_CODING_IDENTITY);
        return true;
    }
    return take_file(site, resource, HS_CODING_IDENTITY, found->fd, &found->info, path->name,
                     mime) &&
           (resource->name == NULL || !resource->looked_for || look_for_siblings(site, resource));
}

/* Checks the disk. `resource` NULL: the cache has none. */
static HS_NOINLINE hs_static_outcome_t look(hs_static_t *site, hs_span_t path,
                                            hs_resource_t **resource, uint64_t now_ms)
{
    found_t found;
    found.fd = -1;
    find_on_disk(site, path, &found);
    if (*resource == NULL && found.outcome == HS_STATIC_BUILT) {
        *resource = hs_file_cache_add(site->cache, site, path);
        if (*resource == NULL) {
            if (found.kind == HS_RESOURCE_FILE)
                hs_file_close(found.fd);
            return HS_STATIC_BUSY;
        }
        site->cache->in_use = *resource;
    }
    if (found.outcome == HS_STATIC_BUILT && !fill(site, *resource, &found))
        found.outcome = HS_STATIC_BUSY;
    if (found.outcome != HS_STATIC_BUILT) {
        if (*resource != NULL)
            hs_file_cache_remove(site->cache, *resource);
        return found.outcome;
    }
    (*resource)->checked_ms = now_ms;
    return HS_STATIC_BUILT;
}

/* ---- The response. ---- */

static void release_file(void *context, uintptr_t token)
{
    (void)token;
    hs_file_release(context);
}

/* Appends prebuilt lines. The handler's own fields of the same name take precedence, but few
 * handlers have any. */
static int add_lines(hs_response_t *response, hs_span_t lines)
{
    if (HS_LIKELY(response->fields.len == 0)) {
        if (!hs_buf_append(&response->fields, lines.data, lines.len)) {
            response->failure = HS_ERR_NOMEM;
            return HS_ERR_NOMEM;
        }
        return HS_OK;
    }
    while (lines.len > 0) {
        const char *end = memchr(lines.data, '\r', lines.len);
        const char *colon = memchr(lines.data, ':', lines.len);
        hs_span_t name = hs_span(lines.data, (size_t)(colon - lines.data));
        hs_span_t value = hs_span(colon + 2, (size_t)(end - colon) - 2);
        int result = HS_OK;
        hs_span_t own;
        if (!hs_res_find_field(response, name, &own))
            result = hs_res_add_field(response, name, value);
        if (result != HS_OK)
            return result;
        lines = hs_span(end + 2, lines.len - (size_t)(end + 2 - lines.data));
    }
    return HS_OK;
}

/* How much of a file is in the page cache, from its beginning: checked once in a while. */
static uint64_t resident_of(hs_file_t *file, uint64_t now_ms)
{
    if (file->resident_ms == 0 || now_ms - file->resident_ms >= HS_FILE_CACHE_FRESH_MS) {
        size_t window = (size_t)(file->info.size < LOOK_BYTES ? file->info.size : LOOK_BYTES);
        file->resident = hs_page_cache_resident(file->fd, 0, window);
        file->resident_ms = now_ms;
    }
    return file->resident;
}

static int set_content(hs_response_t *response, hs_file_t *file, uint64_t first, uint64_t len,
                       uint64_t now_ms)
{
    hs_release_t release = { release_file, file, 0 };
    hs_file_take(file);
    int result;
    if (file->data != NULL)
        result = hs_res_pin_body(response, hs_span(file->data + first, (size_t)len), release);
    else
        result = hs_res_file_part(response, (hs_content_t){ .file = file->fd,
                                                            .offset = first,
                                                            .modified_ns = file->info.modified_ns,
                                                            .resident = resident_of(file, now_ms),
                                                            .len = (size_t)len,
                                                            .release = release });
    if (result != HS_OK)
        hs_file_release(file);
    return result;
}

/* A small file that may not be requested again is read directly into the response. False: it is not
 * in the page cache, or has changed since it was opened. */
static bool copy_content(hs_response_t *response, hs_file_t *file)
{
    size_t size = (size_t)file->info.size;
    hs_file_info_t after;
    hs_res_release_content(response);
    response->body.len = 0;
    if (!hs_buf_reserve(&response->body, size) ||
        hs_page_cache_read(file->fd, response->body.data, size, 0) != (ptrdiff_t)size ||
        hs_file_stat(file->fd, &after) < 0 || !hs_file_is_same(&after, &file->info))
        return false;
    response->body.len = size;
    response->built = true;
    return true;
}

static int add_content_range(hs_response_t *response, uint64_t first, uint64_t last, uint64_t size)
{
    char text[3 * 20 + 16];
    int len =
        snprintf(text, sizeof(text), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, first, last, size);
    return hs_res_add_field(response, HS_SPAN_LITERAL("Content-Range"), hs_span(text, (size_t)len));
}

static int refuse_range(hs_response_t *response, uint64_t size)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "bytes */%" PRIu64, size);
    response->status = 416;
    int result =
        hs_res_add_field(response, HS_SPAN_LITERAL("Content-Range"), hs_span(text, (size_t)len));
    return result != HS_OK ? result
                           : hs_res_set_body(response, HS_SPAN_LITERAL("Range Not Satisfiable\n"));
}

static int send_whole(hs_response_t *response, hs_file_t *file, uint64_t now_ms)
{
    int result = add_lines(response, hs_span(file->head.data, file->head.len));
    if (result != HS_OK || (file->data == NULL && file->info.size <= COPY_BYTES &&
                            file->info.size > 0 && copy_content(response, file)))
        return result;
    return set_content(response, file, 0, file->info.size, now_ms);
}

/* The request has fields of RFC 9110 §13 or §14. */
static HS_NOINLINE int send_conditional(hs_job_t *job, hs_file_t *file, uint64_t now_ms)
{
    const hs_msg_t *msg = &job->request.msg;
    hs_response_t *response = &job->response;
    hs_validators_t validators = {
        .etag = hs_span(file->head.data + file->etag_at, file->etag_len),
        .modified_s = file->modified_s,
        .now_s = hs_clock_realtime_s(),
    };
    hs_span_t brief = hs_span(file->head.data, file->brief_len);
    hs_precondition_t condition = hs_conditional_check(msg, &validators);
    if (condition != HS_PRECONDITION_MET) {
        response->status = condition == HS_PRECONDITION_FAILED ? 412 : 304;
        response->built = true;
        int result = add_lines(response, brief);
        if (result == HS_OK && condition == HS_PRECONDITION_FAILED)
            result = hs_res_set_body(response, HS_SPAN_LITERAL("Precondition Failed\n"));
        return result;
    }
    uint64_t first, len;
    switch (hs_conditional_range(msg, &validators, file->info.size, &first, &len)) {
    case HS_RANGE_WHOLE:
        break;
    case HS_RANGE_UNSATISFIABLE:
        return refuse_range(response, file->info.size);
    case HS_RANGE_PART:
        response->status = 206;
        int result = add_lines(response, hs_span(file->head.data, file->head.len));
        if (result == HS_OK)
            result = add_content_range(response, first, first + len - 1, file->info.size);
        return result != HS_OK ? result : set_content(response, file, first, len, now_ms);
    }
    return send_whole(response, file, now_ms);
}

/* To the same path with a slash. Several slashes at its beginning would make the first segment a
 * host. */
static int redirect(hs_job_t *job)
{
    size_t path_len;
    size_t query_len;
    const char *path = hs_req_path(&job->request, &path_len);
    const char *query = hs_req_query(&job->request, &query_len);
    while (path_len > 1 && path[0] == '/' && path[1] == '/') {
        path++;
        path_len--;
    }
    hs_buf_t *location = &job->response.body; /* as scratch: it becomes the content */
    location->len = 0;
    bool put = hs_buf_append(location, path, path_len) && hs_buf_append(location, "/", 1);
    if (put && query_len > 0)
        put = hs_buf_append(location, "?", 1) && hs_buf_append(location, query, query_len);
    if (!put) {
        job->response.failure = HS_ERR_NOMEM;
        return HS_ERR_NOMEM;
    }
    int result = hs_res_add_field(&job->response, HS_SPAN_LITERAL("Location"),
                                  hs_span(location->data, location->len));
    location->len = 0;
    job->response.status = 301;
    return result;
}

/* Siblings are looked for only when they could be sent, so rarely requested files cost no extra
 * disk access. */
static hs_coding_t choose_coding(hs_static_t *site, const hs_msg_t *msg, hs_resource_t *resource)
{
    if (resource->name == NULL)
        return HS_CODING_IDENTITY;
    const size_t count = sizeof(preferred) / sizeof(preferred[0]);
    if (!resource->looked_for) {
        if (hs_accept_encoding_of(msg, site->config.codings, preferred, count) ==
                HS_CODING_IDENTITY ||
            !look_for_siblings(site, resource))
            return HS_CODING_IDENTITY;
    }
    if (resource->offered == 0)
        return HS_CODING_IDENTITY;
    return hs_accept_encoding_of(msg, resource->offered, preferred, count);
}

static int send_file(hs_static_t *site, hs_job_t *job, hs_resource_t *resource, hs_span_t type,
                     uint64_t now_ms)
{
    const hs_msg_t *msg = &job->request.msg;
    hs_file_t *file = resource->files[choose_coding(site, msg, resource)];
    if (file->data == NULL && file->was_used)
        hs_file_cache_load(site->cache, file);
    file->was_used = true;
    if (HS_UNLIKELY(type.len > 0)) {
        int result = hs_res_add_field(&job->response, HS_SPAN_LITERAL("Content-Type"), type);
        if (result != HS_OK)
            return result;
    }
    int sent;
    if (HS_LIKELY(job->response.status != 200 || hs_conditional_fields(msg) == 0))
        sent = send_whole(&job->response, file, now_ms);
    else
        sent = send_conditional(job, file, now_ms);
    /* Otherwise the cache would decide which of its files are compressed: those kept in memory. */
    return sent == HS_OK ? hs_res_compress(&job->response, false) : sent;
}

static hs_static_outcome_t outcome_of_result(int result)
{
    if (result == HS_OK)
        return HS_STATIC_BUILT;
    return result == HS_ERR_NOMEM ? HS_STATIC_BUSY : HS_STATIC_FAILED;
}

hs_static_outcome_t hs_static_redirect(hs_job_t *job)
{
    if (job->response.sending != HS_SENDING_BUILDING)
        return HS_STATIC_FAILED;
    return outcome_of_result(redirect(job));
}

/* Files sent from a descriptor are checked each time: the announced length must still exist. */
static bool is_current(const hs_file_t *file)
{
    hs_file_info_t now;
    return file->data != NULL ||
           (hs_file_stat(file->fd, &now) == 0 && hs_file_is_same(&now, &file->info));
}

static hs_static_outcome_t respond(hs_static_t *site, hs_job_t *job, hs_span_t path, hs_span_t type,
                                   uint64_t now_ms)
{
    hs_file_cache_t *cache = site->cache;
    hs_resource_t *resource = hs_file_cache_find(cache, site, path);
    cache->in_use = resource;
    bool is_fresh = resource != NULL && now_ms - resource->checked_ms < HS_FILE_CACHE_FRESH_MS;
    if (is_fresh && resource->kind == HS_RESOURCE_FILE)
        is_fresh = is_current(resource->files[choose_coding(site, &job->request.msg, resource)]);
    if (HS_UNLIKELY(!is_fresh)) {
        hs_static_outcome_t outcome = look(site, path, &resource, now_ms);
        if (outcome != HS_STATIC_BUILT)
            return outcome;
    }
    switch (resource->kind) {
    case HS_RESOURCE_FILE:
        return outcome_of_result(send_file(site, job, resource, type, now_ms));
    case HS_RESOURCE_UNSLASHED:
        return HS_STATIC_UNSLASHED;
    case HS_RESOURCE_DIRECTORY:
        return HS_STATIC_DIRECTORY;
    }
    return HS_STATIC_FAILED;
}

hs_static_outcome_t hs_static_respond(hs_static_t *site, hs_job_t *job, hs_span_t path,
                                      hs_span_t type, uint64_t now_ms)
{
    if (job->response.sending != HS_SENDING_BUILDING)
        return HS_STATIC_FAILED;
    check_root(site, now_ms);
    hs_static_outcome_t outcome = respond(site, job, path, type, now_ms);
    hs_file_cache_trim(site->cache);
    site->cache->in_use = NULL;
    return outcome;
}

/* ---- Directories. ---- */

typedef struct listing {
    const hs_static_t *site;
    hs_buf_t *out;
    size_t count;
    bool is_whole;
    bool failed; /* out of memory */
    bool is_top;
} listing_t;

static bool list_entry(void *context, const char *name, const hs_file_info_t *info)
{
    listing_t *listing = context;
    bool is_hidden = name[0] == '.' && !listing->site->config.shows_dotfiles &&
                     !(listing->is_top && strcmp(name, ".well-known") == 0);
    if (is_hidden || info->kind == HS_FILE_OTHER)
        return true;
    if (listing->count++ == HS_STATIC_LIST_MAX) {
        listing->is_whole = false;
        return false;
    }
    char text[64];
    int len = snprintf(text, sizeof(text), "%c %" PRIu64 " %" PRId64 " ",
                       info->kind == HS_FILE_DIRECTORY ? 'd' : 'f', info->size,
                       info->modified_ns / 1000000000);
    listing->failed = !hs_buf_append(listing->out, text, (size_t)len) ||
                      !hs_buf_append(listing->out, name, strlen(name) + 1);
    return !listing->failed;
}

int hs_static_list(hs_static_t *site, hs_span_t path, hs_buf_t *out, bool *is_whole)
{
    hs_file_path_t decoded;
    if (hs_file_path_decode(path, !site->config.shows_dotfiles, &decoded) != HS_FILE_PATH_OK)
        return HS_ERR_INVALID;
    listing_t listing = { .site = site, .out = out, .is_whole = true, .is_top = decoded.len == 0 };
    int result = hs_beneath_list(&site->root, decoded.name, list_entry, &listing);
    *is_whole = listing.is_whole;
    if (listing.failed)
        return HS_ERR_NOMEM;
    return result < 0 ? HS_ERR_SYSTEM : HS_OK;
}
