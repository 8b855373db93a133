/* A Lua handler in a temporary file, run on a job. Include after cmocka.h. */
#pragma once

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "exec/hs_lua.h"
#include "exec/job_bench.h"

typedef struct lua_bench {
    bench_t bench;
    char directory[256];
    char script[300];  /* path of handler.lua in it */
    size_t memory_cap; /* of the next state, 0: none */
    hs_errinfo_t error;
    hs_lua_t *lua;
    int status; /* of the last response, with its fields and content */
    char fields[1024];
    char body[4096];
    size_t body_len;
} lua_bench_t;

static inline void lua_bench_write(const lua_bench_t *lb, const char *name, const char *text)
{
    char path[600];
    snprintf(path, sizeof(path), "%s/%s", lb->directory, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static inline void lua_bench_begin(lua_bench_t *lb)
{
    memset(lb, 0, sizeof(*lb));
    bench_begin(&lb->bench);
    const char *parent = getenv("TMPDIR");
    snprintf(lb->directory, sizeof(lb->directory), "%s/moonring;lua?XXXXXX",
             parent != NULL ? parent : "/tmp");
    assert_non_null(mkdtemp(lb->directory));
    snprintf(lb->script, sizeof(lb->script), "%s/handler.lua", lb->directory);
}

/* Loads `text` as handler.lua. NULL when it does not load: lb->error says why. */
static inline hs_lua_t *lua_bench_load(lua_bench_t *lb, const char *text)
{
    lua_bench_write(lb, "handler.lua", text);
    hs_lua_config_t config = { .files = { .root = "lua", .script = lb->script },
                               .log = &lb->bench.log,
                               .memory_cap = lb->memory_cap };
    hs_lua_free(lb->lua);
    lb->error = (hs_errinfo_t){ 0 };
    lb->lua = hs_lua_new(&config, &lb->error);
    return lb->lua;
}

/* Loads `text`, which must be valid. */
static inline void load(lua_bench_t *lb, const char *text)
{
    if (lua_bench_load(lb, text) == NULL)
        fail_msg("%s", lb->error.text);
}

static inline void lua_bench_end(lua_bench_t *lb)
{
    hs_lua_free(lb->lua);
    DIR *directory = opendir(lb->directory);
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        if (entry->d_name[0] != '.') {
            char path[600];
            snprintf(path, sizeof(path), "%s/%s", lb->directory, entry->d_name);
            unlink(path);
        }
    closedir(directory);
    rmdir(lb->directory);
    bench_end(&lb->bench);
}

/* Around each test: its state is a bench. */
static inline int begin(void **state)
{
    static lua_bench_t lb;
    lua_bench_begin(&lb);
    *state = &lb;
    return 0;
}

static inline int end(void **state)
{
    lua_bench_end(*state);
    return 0;
}

static inline void lua_bench_keep_response(lua_bench_t *lb)
{
    const hs_response_t *response = &lb->bench.job->response;
    assert_int_equal(response->sending, HS_SENDING_ENDED);
    lb->status = response->status;
    lb->body_len = response->body.len;
    size_t body_shown = hs_min(response->body.len, sizeof(lb->body) - 1);
    size_t fields_shown = hs_min(response->fields.len, sizeof(lb->fields) - 1);
    if (body_shown > 0)
        memcpy(lb->body, response->body.data, body_shown);
    if (fields_shown > 0)
        memcpy(lb->fields, response->fields.data, fields_shown);
    lb->body[body_shown] = '\0';
    lb->fields[fields_shown] = '\0';
}

static inline void lua_bench_run(lua_bench_t *lb, const char *request)
{
    bench_request(&lb->bench, request);
    bench_respond(&lb->bench, hs_lua_as_handler(lb->lua));
    lua_bench_keep_response(lb);
    bench_end_request(&lb->bench);
}

static inline void lua_bench_get(lua_bench_t *lb, const char *path)
{
    char request[512];
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path);
    lua_bench_run(lb, request);
}

/* The last record contains `expected`. */
static inline void expect_logged(const lua_bench_t *lb, const char *expected)
{
    if (strstr(lb->bench.tape.last, expected) == NULL)
        fail_msg("no \"%s\" in: %s", expected, lb->bench.tape.last);
}
