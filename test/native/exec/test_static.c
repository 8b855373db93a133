/* Responses from files: what is cached, and how the cache follows changes on disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <time.h>

#include <cmocka.h>

#include "exec/hs_static.h"
#include "exec/job_bench.h"
#include "os/scratch.h"

typedef struct rig {
    bench_t bench;
    scratch_t scratch;
    hs_file_cache_t cache;
    hs_static_t *site;
    uint64_t now_ms;
} rig_t;

static void begin_with(rig_t *rig, hs_static_config_t config)
{
    bench_begin(&rig->bench);
    scratch_begin(&rig->scratch);
    scratch_directory(&rig->scratch, "root");
    hs_file_cache_init(&rig->cache);
    rig->now_ms = 1000000;
    hs_errinfo_t error = { 0 };
    char root[128];
    snprintf(root, sizeof(root), "%s", scratch_path(&rig->scratch, "root"));
    config.root = root;
    rig->site = hs_static_new(&rig->cache, &config, &error);
    assert_non_null(rig->site);
}

static void begin(rig_t *rig)
{
    begin_with(rig, (hs_static_config_t){ .indexes = { "index.html" }, .charset = "utf-8" });
}

static void end(rig_t *rig)
{
    hs_res_release_content(&rig->bench.job->response);
    hs_static_free(rig->site);
    assert_int_equal(rig->cache.resources, 0);
    hs_file_cache_clear(&rig->cache);
    bench_end(&rig->bench);
    scratch_end(&rig->scratch);
}

static void age(rig_t *rig)
{
    rig->now_ms += HS_FILE_CACHE_FRESH_MS;
}

/* Requests a path with further field lines. */
static hs_static_outcome_t ask_with(rig_t *rig, const char *method, const char *path,
                                    const char *fields)
{
    char text[2048];
    snprintf(text, sizeof(text), "%s /%s HTTP/1.1\r\nHost: a\r\n%s\r\n", method, path, fields);
    bench_request(&rig->bench, text);
    hs_res_begin(&rig->bench.job->response);
    return hs_static_respond(rig->site, rig->bench.job, hs_span(path, strlen(path)),
                             hs_span(NULL, 0), rig->now_ms);
}

static hs_static_outcome_t ask(rig_t *rig, const char *path)
{
    return ask_with(rig, "GET", path, "");
}

/* On the second request a small file is cached in memory. */
static void ask_twice(rig_t *rig, const char *path)
{
    assert_int_equal(ask(rig, path), HS_STATIC_BUILT);
    assert_int_equal(ask(rig, path), HS_STATIC_BUILT);
}

/* The content of the response, which is small. */
static const char *content(rig_t *rig)
{
    static char text[256];
    const hs_response_t *response = &rig->bench.job->response;
    const hs_content_t *content = &response->content;
    size_t len = hs_min(content->len, sizeof(text) - 1);
    switch (response->kind) {
    case HS_CONTENT_COPIED:
        len = hs_min(response->body.len, sizeof(text) - 1);
        if (len > 0)
            memcpy(text, response->body.data, len);
        break;
    case HS_CONTENT_PINNED:
        memcpy(text, content->data, len);
        break;
    case HS_CONTENT_FILE:
        len = (size_t)pread(content->file, text, len, (off_t)content->offset);
        break;
    }
    text[len] = '\0';
    return text;
}

/* The value of a field of the response, "" if absent. */
static const char *field(rig_t *rig, const char *name)
{
    static char value[4][256];
    static unsigned turn;
    char *to = value[turn++ % 4];
    const hs_buf_t *fields = &rig->bench.job->response.fields;
    char key[64];
    snprintf(key, sizeof(key), "%s: ", name);
    const char *found =
        fields->len > 0 ? memmem(fields->data, fields->len, key, strlen(key)) : NULL;
    to[0] = '\0';
    if (found == NULL)
        return to;
    found += strlen(key);
    size_t len = (size_t)((const char *)memchr(found, '\r', 256) - found);
    memcpy(to, found, len);
    to[len] = '\0';
    return to;
}

static int status(const rig_t *rig)
{
    return rig->bench.job->response.status;
}

static void a_file_has_its_fields(void **state)
{
    (void)state;
    rig_t rig;
    begin(&rig);
    scratch_text(&rig.scratch, "root/a.html", "hello");
    assert_int_equal(ask(&rig, "a.html"), HS_STATIC_BUILT);
    assert_int_equal(status(&rig), 200);
    assert_string_equal(content(&rig), "hello");
    assert_string_equal(field(&rig, "Content-Type"), "text/html; charset=utf-8");
    assert_string_equal(field(&rig, "Accept-Ranges"), "bytes");
    assert_string_equal(field(&rig, "X-Content-Type-Options"), "nosniff");
    assert_int_equal(field(&rig, "ETag")[0], '"');
    assert_int_equal(strlen(field(&rig, "Last-Modified")), 29);
    assert_string_equal(field(&rig, "Vary"), "");
    scratch_text(&rig.scratch, "root/b.unknown", "x");
    assert_int_equal(ask(&rig, "b.unknown"), HS_STATIC_BUILT);
    assert_string_equal(field(&rig, "Content-Type"), "application/octet-stream");
    scratch_text(&rig.scratch, "root/empty.txt", "");
    assert_int_equal(ask(&rig, "empty.txt"), HS_STATIC_BUILT);
    assert_string_equal(content(&rig), "");
    end(&rig);
}

static void what_is_no_file_is_missing(void **state)
{
    (void)state;
    rig_t rig;
    begin(&rig);
    scratch_text(&rig.scratch, "secret", "secret");
    scratch_link(&rig.scratch, "../secret", "root/link");
    scratch_link(&rig.scratch, "/dev/zero", "root/zero");
    assert_int_equal(mkfifo(scratch_path(&rig.scratch, "root/fifo"), 0644), 0);
    scratch_directory(&rig.scratch, "root/empty");
    scratch_text(&rig.scratch, "root/file", "x");
    scratch_text(&rig.scratch, "root/.hidden", "x");
    static const char *const missing[] = { "nope",    "../secret",  "%2e%2e/secret", "link",
                                           "zero",    "fifo",       "file/",         "file/x",
                                           ".hidden", "a%2f..%2fb", "nope/nope" };
    for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++) {
        assert_int_equal(ask(&rig, missing[i]), HS_STATIC_MISSING);
        assert_false(rig.bench.job->response.built);
    }
    assert_int_equal(ask(&rig, "empty/"), HS_STATIC_DIRECTORY);
    assert_int_equal(ask(&rig, "%00"), HS_STATIC_MALFORMED);
    assert_int_equal(ask(&rig, "%zz"), HS_STATIC_MALFORMED);
    end(&rig);
}

static void a_directory_has_an_index(void **state)
{
    (void)state;
    rig_t rig;
    begin(&rig);
    scratch_directory(&rig.scratch, "root/d");
    assert_int_equal(ask(&rig, "d/"), HS_STATIC_DIRECTORY);
    scratch_text(&rig.scratch, "root/d/index.html", "index");
    age(&rig);
    assert_int_equal(ask(&rig, "d/"), HS_STATIC_BUILT);
    assert_string_equal(content(&rig), "index");
    assert_int_equal(ask_with(&rig, "GET", "d?q=1", ""), HS_STATIC_MISSING);
    end(&rig);
}

/* The path of the request, which the path of the file need not begin with. */
static const char *redirected(rig_t *rig, const char *target)
{
    char text[512];
    snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target);
    bench_request(&rig->bench, text);
    hs_res_begin(&rig->bench.job->response);
    assert_int_equal(hs_static_respond(rig->site, rig->bench.job, HS_SPAN_LITERAL("d"),
                                       hs_span(NULL, 0), rig->now_ms),
                     HS_STATIC_UNSLASHED);
    assert_int_equal(hs_static_redirect(rig->bench.job), HS_STATIC_BUILT);
    assert_int_equal(status(rig), 301);
    return field(rig, "Location");
}

static void a_directory_without_its_slash_is_redirected_on_this_host(void **state)
{
    (void)state;
    rig_t rig;
    begin(&rig);
    scratch_directory(&rig.scratch, "root/d");
    assert_string_equal(redirected(&rig, "/x/d"), "/x/d/");
    assert_string_equal(redirected(&rig, "/x/d?a=b"), "/x/d/?a=b");
    assert_string_equal(redirected(&rig, "//evil.example/d"), "/evil.example/d/");
    assert_string_equal(redirected(&rig, "////d"), "/d/");
    assert_string_equal(redirected(&rig, "http://a/x/d"), "/x/d/");
    end(&rig);
}

static void changes_are_seen_when_what_is_kept_is_old(void **state)
{
    (void)state;
    rig_t rig;
    begin(&rig);
    scratch_text(&rig.scratch, "root/a.txt", "one");
    ask_twice(&rig, "a.txt");
    char etag[64];
    snprintf(etag, sizeof(etag), "%s", field(&rig, "ETag"));
    scratch_text(&rig.scratch, "root/a.txt", "two!");
    assert_int_equal(ask(&rig, "a.txt"), HS_STATIC_BUILT);
    assert_string_equal(content(&rig), "one");
    age(&rig);
    assert_int_equal(ask(&rig, "a.txt"), HS_STATIC_BUILT);
    assert_string_equal(content(&rig), "two!");
    assert_string_not_equal(field(&rig, "ETag"), etag);
    assert_int_equal(unlink(scratch_path(&rig.scratch, "root/a.txt")), 0);
    assert_int_equal(ask(&rig, "a.txt"), HS_STATIC_BUILT);
    age(&rig);
    assert_int_equal(ask(&rig, "a.txt"), HS_STATIC_MISSING);
    end(&rig);
}

static void a_file_that_is_not_in_memory_is_never_believed(void **state)
{
    (void)state;
    rig_t rig;
    begin(&rig);
    static char text[HS_FILE_CACHE_FILE_BYTES + 1];
    scratch_write(&rig.scratch, "root/large", text, sizeof(text));
    assert_int_equal(ask(&rig, "large"), HS_STATIC_BUILT);
    assert_int_equal(rig.bench.job->response.content.len, sizeof(text));
    scratch_text(&rig.scratch, "root/large", "short now");
    assert_int_equal(ask(&rig, "large"), HS_STATIC_BUILT);
    assert_string_equal(content(&rig), "short now");
    scratch_text(&rig.scratch, "root/large", "short, and other");
    assert_int_equal(ask(&rig, "large"), HS_STATIC_BUILT);
    assert_string_equal(content(&rig), "short, and other");
    end(&rig);
}

static void a_file_that_has_not_changed_is_read_once(void **state)
{
    (void)state;
    rig_t rig;
    begin(&rig);
    scratch_text(&rig.scratch, "root/a.txt", "one");
    ask_twice(&rig, "a.txt");
    const char *before = rig.bench.job->response.content.data;
    assert_non_null(before);
    age(&rig);
    assert_int_equal(ask(&rig, "a.txt"), HS_STATIC_BUILT);
    assert_ptr_equal(rig.bench.job->response.content.data, before);
    assert_int_equal(rig.cache.descriptors, 0);
    assert_int_equal(rig.cache.bytes, 3);
    end(&rig);
}

static void another_directory_in_its_place_is_seen(void **state)
{
    (void)state;
    rig_t rig;
    begin(&rig);
    scratch_text(&rig.scratch, "root/a.txt", "one");
    assert_int_equal(ask(&rig, "a.txt"), HS_STATIC_BUILT);
    scratch_directory(&rig.scratch, "next");
    scratch_text(&rig.scratch, "next/a.txt", "two");
    char next[128];
    snprintf(next, sizeof(next), "%s", scratch_path(&rig.scratch, "next"));
    char root[128];
    snprintf(root, sizeof(root), "%s", scratch_path(&rig.scratch, "root"));
    assert_int_equal(rename(root, scratch_path(&rig.scratch, "old")), 0);
    assert_int_equal(rename(next, root), 0);
    age(&rig);
    assert_int_equal(ask(&rig, "a.txt"), HS_STATIC_BUILT);
    assert_string_equal(content(&rig), "two");
    end(&rig);
}

static void siblings_are_sent_to_those_who_accept_them(void **state)
{
    (void)state;
    rig_t rig;
    begin_with(&rig, (hs_static_config_t){ .codings = 14 });
    scratch_text(&rig.scratch, "root/a.css", "plain");
    scratch_text(&rig.scratch, "root/a.css.br", "brotli");
    scratch_text(&rig.scratch, "root/a.css.gz", "gzip");
    scratch_text(&rig.scratch, "root/b.png", "plain");
    scratch_text(&rig.scratch, "root/b.png.gz", "gzip");
    static const char *const rows[][3] = {
        { "", "plain", "" },
        { "Accept-Encoding: br;q=1, gzip;q=0.8\r\n", "brotli", "br" },
        { "Accept-Encoding: br;q=0.5, gzip\r\n", "gzip", "gzip" },
        { "Accept-Encoding: gzip, br\r\n", "brotli", "br" },
        { "Accept-Encoding: zstd\r\n", "plain", "" },
        { "Accept-Encoding: br;q=0, *\r\n", "gzip", "gzip" },
        { "Accept-Encoding: identity\r\n", "plain", "" },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(ask_with(&rig, "GET", "a.css", rows[i][0]), HS_STATIC_BUILT);
        assert_string_equal(content(&rig), rows[i][1]);
        assert_string_equal(field(&rig, "Content-Encoding"), rows[i][2]);
        assert_string_equal(field(&rig, "Vary"), "Accept-Encoding");
        assert_string_equal(field(&rig, "Content-Type"), "text/css");
    }
    char plain[64], coded[64];
    assert_int_equal(ask(&rig, "a.css"), HS_STATIC_BUILT);
    snprintf(plain, sizeof(plain), "%s", field(&rig, "ETag"));
    assert_int_equal(ask_with(&rig, "GET", "a.css", "Accept-Encoding: br\r\n"), HS_STATIC_BUILT);
    snprintf(coded, sizeof(coded), "%s", field(&rig, "ETag"));
    assert_string_not_equal(plain, coded);
    /* For content that is already compressed no compressed sibling is looked for. */
    assert_int_equal(ask_with(&rig, "GET", "b.png", "Accept-Encoding: gzip\r\n"), HS_STATIC_BUILT);
    assert_string_equal(content(&rig), "plain");
    assert_string_equal(field(&rig, "Vary"), "");
    /* A sibling that is removed, and one that is added. */
    assert_int_equal(unlink(scratch_path(&rig.scratch, "root/a.css.br")), 0);
    scratch_text(&rig.scratch, "root/a.css.zst", "zstd");
    age(&rig);
    assert_int_equal(ask_with(&rig, "GET", "a.css", "Accept-Encoding: br, zstd\r\n"),
                     HS_STATIC_BUILT);
    assert_string_equal(content(&rig), "zstd");
    end(&rig);
}

static void conditions_and_ranges_are_applied(void **state)
{
    (void)state;
    rig_t rig;
    char fields[256];
    begin(&rig);
    scratch_text(&rig.scratch, "root/a.txt", "0123456789");
    assert_int_equal(ask(&rig, "a.txt"), HS_STATIC_BUILT);
    snprintf(fields, sizeof(fields), "If-None-Match: %s\r\nRange: bytes=0-1\r\n",
             field(&rig, "ETag"));
    assert_int_equal(ask_with(&rig, "GET", "a.txt", fields), HS_STATIC_BUILT);
    assert_int_equal(status(&rig), 304);
    assert_int_equal(field(&rig, "ETag")[0], '"');
    assert_string_equal(field(&rig, "Content-Type"), "");
    assert_string_equal(content(&rig), "");
    assert_int_equal(ask_with(&rig, "GET", "a.txt", "If-Match: \"x\"\r\n"), HS_STATIC_BUILT);
    assert_int_equal(status(&rig), 412);
    assert_int_equal(ask_with(&rig, "GET", "a.txt", "Range: bytes=2-4\r\n"), HS_STATIC_BUILT);
    assert_int_equal(status(&rig), 206);
    assert_string_equal(field(&rig, "Content-Range"), "bytes 2-4/10");
    assert_string_equal(content(&rig), "234");
    assert_int_equal(ask_with(&rig, "GET", "a.txt", "Range: bytes=10-\r\n"), HS_STATIC_BUILT);
    assert_int_equal(status(&rig), 416);
    assert_string_equal(field(&rig, "Content-Range"), "bytes */10");
    assert_int_equal(ask_with(&rig, "HEAD", "a.txt", "Range: bytes=2-4\r\n"), HS_STATIC_BUILT);
    assert_int_equal(status(&rig), 200);
    end(&rig);
}

static void the_handlers_fields_and_status_count(void **state)
{
    (void)state;
    rig_t rig;
    begin(&rig);
    scratch_text(&rig.scratch, "root/404.html", "gone");
    bench_request(&rig.bench, "GET /x HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\n\r\n");
    hs_response_t *response = &rig.bench.job->response;
    hs_res_begin(response);
    assert_int_equal(hs_res_status(response, 404), HS_OK);
    assert_int_equal(hs_res_header(response, "cache-control", "no-store"), HS_OK);
    assert_int_equal(hs_res_header(response, "Content-Type", "text/x"), HS_OK);
    assert_int_equal(hs_static_respond(rig.site, rig.bench.job, HS_SPAN_LITERAL("404.html"),
                                       hs_span(NULL, 0), rig.now_ms),
                     HS_STATIC_BUILT);
    assert_int_equal(status(&rig), 404);
    assert_string_equal(field(&rig, "Content-Type"), "text/x");
    assert_string_equal(field(&rig, "Cache-Control"), "");
    assert_string_equal(content(&rig), "gone");
    end(&rig);
}

static void cache_control_goes_by_patterns(void **state)
{
    (void)state;
    rig_t rig;
    const hs_static_rule_t rules[] = { { "assets/*", "immutable" }, { "*.html", "no-cache" } };
    begin_with(&rig, (hs_static_config_t){ .rules = rules, .rule_count = 2 });
    scratch_directory(&rig.scratch, "root/assets");
    scratch_directory(&rig.scratch, "root/assets/d");
    scratch_text(&rig.scratch, "root/assets/d/a.html", "x");
    scratch_text(&rig.scratch, "root/b.html", "x");
    scratch_text(&rig.scratch, "root/c.txt", "x");
    assert_int_equal(ask(&rig, "assets/d/a.html"), HS_STATIC_BUILT);
    assert_string_equal(field(&rig, "Cache-Control"), "immutable");
    assert_int_equal(ask(&rig, "b.html"), HS_STATIC_BUILT);
    assert_string_equal(field(&rig, "Cache-Control"), "no-cache");
    assert_int_equal(ask(&rig, "c.txt"), HS_STATIC_BUILT);
    assert_string_equal(field(&rig, "Cache-Control"), "");
    end(&rig);
}

static void unreadable_files_are_forbidden(void **state)
{
    (void)state;
    rig_t rig;
    if (geteuid() == 0)
        skip(); /* root can read everything */
    begin(&rig);
    scratch_text(&rig.scratch, "root/a", "x");
    assert_int_equal(chmod(scratch_path(&rig.scratch, "root/a"), 0), 0);
    assert_int_equal(ask(&rig, "a"), HS_STATIC_FORBIDDEN);
    end(&rig);
}

/* Content that a response is sent from stays, whatever happens to the cache. */
static void what_is_sent_outlives_the_cache(void **state)
{
    (void)state;
    rig_t rig;
    begin(&rig);
    scratch_text(&rig.scratch, "root/a.txt", "one");
    assert_int_equal(ask(&rig, "a.txt"), HS_STATIC_BUILT);
    hs_file_cache_remove_all_of(&rig.cache, rig.site);
    assert_int_equal(rig.cache.bytes, 0);
    assert_string_equal(content(&rig), "one");
    end(&rig);
}

/* One of many paths to the same file: each letter can be written in two ways. */
static const char *alias(char path[64], unsigned number, const char *name)
{
    char *to = path;
    for (; *name != '\0'; name++, number /= 2)
        to += snprintf(to, 4, number % 2 != 0 ? "%%%02x" : "%c", (unsigned)*name);
    /* The rest of the number in slashes. */
    snprintf(to, 1, "%s", "");
    memmove(path + number % 32, path, strlen(path) + 1);
    memset(path, '/', number % 32);
    return path;
}

static void the_cache_is_bounded(void **state)
{
    (void)state;
    rig_t rig;
    begin(&rig);
    static char text[HS_FILE_CACHE_FILE_BYTES + 1];
    memset(text, 'x', sizeof(text));
    scratch_write(&rig.scratch, "root/large", text, sizeof(text));
    scratch_write(&rig.scratch, "root/small", text, sizeof(text) - 1);
    char path[64];
    for (unsigned i = 0; i < HS_FILE_CACHE_DESCRIPTORS + 10; i++) {
        assert_int_equal(ask(&rig, alias(path, i, "large")), HS_STATIC_BUILT);
        hs_res_release_content(&rig.bench.job->response);
    }
    assert_int_equal(rig.cache.descriptors, HS_FILE_CACHE_DESCRIPTORS);
    for (unsigned i = 0; i < HS_FILE_CACHE_BYTES / HS_FILE_CACHE_FILE_BYTES + 10; i++) {
        ask_twice(&rig, alias(path, i, "small"));
        hs_res_release_content(&rig.bench.job->response);
    }
    assert_int_equal(rig.cache.bytes, HS_FILE_CACHE_BYTES);
    scratch_text(&rig.scratch, "root/tiny", "");
    for (unsigned i = 0; i < HS_FILE_CACHE_RESOURCES + 10; i++) {
        assert_int_equal(ask(&rig, alias(path, i, "tiny")), HS_STATIC_BUILT);
        hs_res_release_content(&rig.bench.job->response);
        assert_true(rig.cache.resources <= HS_FILE_CACHE_RESOURCES);
    }
    assert_true(rig.cache.bytes <= HS_FILE_CACHE_BYTES);
    end(&rig);
}

/* Descriptors held only by the cache are closed for a newly requested file. */
static void too_many_open_files_cost_the_cache_first(void **state)
{
    (void)state;
    rig_t rig;
    begin(&rig);
    static char text[HS_FILE_CACHE_FILE_BYTES + 1];
    for (char name[] = "root/a"; name[5] <= 'f'; name[5]++)
        scratch_write(&rig.scratch, name, text, sizeof(text));
    assert_int_equal(ask(&rig, "a"), HS_STATIC_BUILT);
    hs_res_release_content(&rig.bench.job->response);
    struct rlimit before, few;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int next = open("/dev/null", O_RDONLY);
    close(next);
    few = before;
    few.rlim_cur = (rlim_t)next;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    assert_int_equal(ask(&rig, "b"), HS_STATIC_BUILT);
    /* The one that a response is sent from stays. */
    assert_int_equal(ask(&rig, "c"), HS_STATIC_BUILT);
    hs_file_t *held = (hs_file_t *)rig.bench.job->response.content.release.context;
    hs_file_take(held);
    assert_int_equal(ask(&rig, "d"), HS_STATIC_BUSY);
    hs_file_release(held);
    assert_int_equal(ask(&rig, "d"), HS_STATIC_BUILT);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    end(&rig);
}

static void directories_are_listed(void **state)
{
    (void)state;
    rig_t rig;
    hs_buf_t out = { 0 };
    bool is_whole;
    begin(&rig);
    scratch_directory(&rig.scratch, "root/d");
    scratch_text(&rig.scratch, "root/d/file", "12345");
    scratch_text(&rig.scratch, "root/d/.hidden", "x");
    assert_int_equal(hs_static_list(rig.site, HS_SPAN_LITERAL("d/"), &out, &is_whole), HS_OK);
    assert_true(is_whole);
    assert_memory_equal(out.data, "f 5 ", 4);
    assert_string_equal(out.data + out.len - 5, "file");
    assert_int_equal(strlen(out.data) + 1, out.len);
    char name[32];
    for (int i = 0; i <= HS_STATIC_LIST_MAX; i++) {
        snprintf(name, sizeof(name), "root/d/%d", i);
        scratch_text(&rig.scratch, name, "");
    }
    out.len = 0;
    assert_int_equal(hs_static_list(rig.site, HS_SPAN_LITERAL("d"), &out, &is_whole), HS_OK);
    assert_false(is_whole);
    hs_buf_free(&out);
    end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_has_its_fields),
        cmocka_unit_test(what_is_no_file_is_missing),
        cmocka_unit_test(a_directory_has_an_index),
        cmocka_unit_test(a_directory_without_its_slash_is_redirected_on_this_host),
        cmocka_unit_test(changes_are_seen_when_what_is_kept_is_old),
        cmocka_unit_test(a_file_that_is_not_in_memory_is_never_believed),
        cmocka_unit_test(a_file_that_has_not_changed_is_read_once),
        cmocka_unit_test(another_directory_in_its_place_is_seen),
        cmocka_unit_test(siblings_are_sent_to_those_who_accept_them),
        cmocka_unit_test(conditions_and_ranges_are_applied),
        cmocka_unit_test(the_handlers_fields_and_status_count),
        cmocka_unit_test(cache_control_goes_by_patterns),
        cmocka_unit_test(unreadable_files_are_forbidden),
        cmocka_unit_test(what_is_sent_outlives_the_cache),
        cmocka_unit_test(the_cache_is_bounded),
        cmocka_unit_test(too_many_open_files_cost_the_cache_first),
        cmocka_unit_test(directories_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
