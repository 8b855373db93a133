#include "exec/hs_lua_content.h"

/* The client is slowed down while this much is unread. */
#define HIGH_WATER (64 * 1024)

static void take_in(hs_job_t *job, hs_span_t piece)
{
    hs_job_inbox_t *inbox = &job->inbox;
    if (inbox->at == inbox->data.len)
        inbox->at = inbox->data.len = 0;
    int result = hs_job_reserve_inbox(job, piece.len, false);
    if (result == HS_OK)
        hs_buf_put(&inbox->data, piece.data, piece.len);
    else
        inbox->failure = (hs_err_t)result;
}

hs_content_next_t hs_lua_content_arrived(hs_job_t *job, hs_span_t piece, bool is_last)
{
    hs_job_inbox_t *inbox = &job->inbox;
    if (piece.len > 0 && inbox->failure == HS_OK)
        take_in(job, piece);
    inbox->has_ended = inbox->has_ended || is_last;
    bool is_enough = !inbox->is_whole && inbox->data.len - inbox->at >= HIGH_WATER;
    inbox->is_paused = is_enough && !is_last;
    return inbox->is_paused ? HS_CONTENT_PAUSE : HS_CONTENT_CONTINUE;
}

/* Resumes reading, if it was paused. */
static void go_on(hs_job_t *job)
{
    if (!job->inbox.is_paused)
        return;
    job->inbox.is_paused = false;
    (void)hs_req_resume(job->view.handle); /* without memory, the content's timeout ends it */
}

void hs_lua_content_take_over(hs_job_t *job)
{
    hs_job_inbox_t *inbox = &job->inbox;
    if (inbox->data.len > 0) { /* the content, which stays */
        hs_buf_t content = inbox->data;
        inbox->data = job->content;
        job->content = content;
    }
    inbox->at = inbox->data.len = 0;
    inbox->is_whole = inbox->has_ended = false;
    inbox->is_paused = true;
}

const char *hs_lua_content_take(hs_view_t *view, uint32_t most)
{
    view->content = HS_LUA_CONTENT_TAKEN;
    return hs_lua_content_next(view, most);
}

const char *hs_lua_content_next(hs_view_t *view, uint32_t most)
{
    hs_job_t *job = hs_job_of_view(view);
    hs_job_inbox_t *inbox = &job->inbox;
    size_t here = inbox->data.len - inbox->at;
    if (here == 0) {
        view->result_len = inbox->has_ended || inbox->failure != HS_OK;
        go_on(job);
        return NULL;
    }
    const char *data = inbox->data.data + inbox->at;
    view->result_len = (uint32_t)(most > 0 ? hs_min(most, here) : here);
    inbox->at += view->result_len;
    if (inbox->data.len - inbox->at < HIGH_WATER / 2)
        go_on(job);
    return data;
}

int hs_lua_content_collect(hs_view_t *view)
{
    hs_job_t *job = hs_job_of_view(view);
    hs_job_inbox_t *inbox = &job->inbox;
    hs_msg_t *msg = &job->request.msg;
    if (!inbox->is_whole) {
        inbox->is_whole = true;
        if (msg->content_length > inbox->data.len)
            inbox->failure = (hs_err_t)hs_job_reserve_inbox(
                job, (size_t)msg->content_length - inbox->data.len, true);
        go_on(job);
    }
    if (inbox->failure != HS_OK)
        return inbox->failure;
    if (!inbox->has_ended)
        return 0;
    msg->body = hs_span(inbox->data.data != NULL ? inbox->data.data : "", inbox->data.len);
    view->content = HS_LUA_CONTENT_WHOLE;
    return 1;
}
