/*
 * Request content for a Lua handler that runs before it has arrived: pieces are kept in the job's
 * inbox until Lua takes them, and the client is slowed down meanwhile if there are too many.
 *
 * Thread: the loop's.
 */
#pragma once

#include "exec/hs_job.h"

/* hs_view_t.content: where the content is. */
enum {
    HS_LUA_CONTENT_WHOLE = 0,    /* in msg.body */
    HS_LUA_CONTENT_ARRIVING = 1, /* it comes piece by piece */
    HS_LUA_CONTENT_TAKEN = 2,    /* ... and some were taken */
};

/* A piece has arrived. */
HS_NODISCARD hs_content_next_t hs_lua_content_arrived(hs_job_t *job, hs_span_t piece, bool is_last);

/* All of the request's content is in msg.body, or was taken. */
static inline bool hs_lua_content_is_complete(const hs_job_t *job)
{
    return job->view.content == HS_LUA_CONTENT_WHOLE || job->inbox.has_ended;
}

/* The handler has taken over the connection: the inbox is for data after the request. */
void hs_lua_content_take_over(hs_job_t *job);

/*
 * What Lua calls. take: at most `most` bytes (0: what is there) of what has arrived, valid until
 * the handler waits; result_len has their number. NULL with result_len 0: nothing is there now,
 * with 1: nothing more comes. collect: 1 when all of it is in msg.body; 0: not yet; or a negative
 * hs_err_t.
 */
const char *hs_lua_content_take(hs_view_t *view, uint32_t most);
/* The same of a connection that was taken over. */
const char *hs_lua_content_next(hs_view_t *view, uint32_t most);
int hs_lua_content_collect(hs_view_t *view);
