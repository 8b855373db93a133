#include "exec/hs_lua_api.h"

#include "exec/hs_lua_calls.h"
#include "exec/hs_lua_content.h"
#include "exec/hs_lua_pins.h"
#include "exec/hs_res.h"
#include "http/hs_parse.h"
#include "stream/hs_stream.h"

static hs_request_t *request_of(hs_view_t *view)
{
    return &hs_job_of_view(view)->request;
}

static hs_response_t *response_of(hs_view_t *view)
{
    return &hs_job_of_view(view)->response;
}

static const char *method_name(uint32_t method)
{
    return hs_parse_method_name(method);
}

static const char *request_path(hs_view_t *view)
{
    size_t len;
    const char *path = hs_req_path(request_of(view), &len);
    view->result_len = (uint32_t)len;
    return path;
}

static const char *request_query(hs_view_t *view)
{
    size_t len;
    const char *query = hs_req_query(request_of(view), &len);
    view->result_len = (uint32_t)len;
    return query;
}

/* The next field of a name after `field`, NULL if there is none. */
static const hs_field_t *next_field(const hs_msg_t *msg, const hs_field_t *field, hs_span_t name)
{
    while (++field < msg->fields + msg->field_count)
        if (hs_span_equals_nocase(hs_msg_field_name(msg, field), name))
            return field;
    return NULL;
}

static const char *request_header(hs_view_t *view, const char *name, uint32_t name_len,
                                  uint32_t skip)
{
    const hs_msg_t *msg = &request_of(view)->msg;
    const hs_field_t *field = hs_msg_find(msg, hs_span(name, name_len));
    for (; field != NULL && skip > 0; skip--)
        field = next_field(msg, field, hs_span(name, name_len));
    if (field == NULL)
        return NULL;
    view->result_len = field->value_len;
    return hs_msg_field_value(msg, field).data;
}

static const char *request_field_name(hs_view_t *view, uint32_t number)
{
    const hs_msg_t *msg = &request_of(view)->msg;
    if (number >= msg->field_count)
        return NULL;
    view->result_len = msg->fields[number].name_len;
    return hs_msg_field_name(msg, &msg->fields[number]).data;
}

static const char *request_field_value(hs_view_t *view, uint32_t number)
{
    const hs_msg_t *msg = &request_of(view)->msg;
    if (number >= msg->field_count)
        return NULL;
    view->result_len = msg->fields[number].value_len;
    return hs_msg_field_value(msg, &msg->fields[number]).data;
}

static const char *request_body(hs_view_t *view)
{
    hs_span_t body = request_of(view)->msg.body;
    HS_ASSERT(body.len <= UINT32_MAX);
    view->result_len = (uint32_t)body.len;
    return body.data;
}

static const char *request_version(hs_view_t *view)
{
    return hs_req_http_version(request_of(view));
}

static const char *request_id(hs_view_t *view)
{
    const char *id = hs_req_id(request_of(view));
    view->result_len = (uint32_t)strlen(id);
    return id;
}

static const char *request_peer(hs_view_t *view)
{
    return hs_req_peer_address(request_of(view));
}

static const char *request_trusted_peer(hs_view_t *view)
{
    return hs_req_trusted_peer(request_of(view));
}

/* `part` as in lua/moonring/request.lua. NULL: the connection is plain. */
static const char *request_tls(hs_view_t *view, uint32_t part)
{
    const hs_tls_peer_t *peer = hs_req_tls(request_of(view));
    if (part == 0)
        return hs_req_scheme(request_of(view));
    if (peer == NULL)
        return NULL;
    const char *parts[] = {
        peer->version,        peer->cipher,        peer->server_name,   peer->is_resumed ? "1" : "",
        peer->client_subject, peer->client_issuer, peer->client_serial, peer->client_fingerprint,
    };
    return part <= sizeof(parts) / sizeof(parts[0]) ? parts[part - 1] : NULL;
}

static const char *request_trace(hs_view_t *view, const char *traceparent)
{
    hs_job_t *job = hs_job_of_view(view);
    if (traceparent != NULL)
        hs_job_take_trace(job, traceparent);
    return hs_job_own_trace(job);
}

static int request_aborted(hs_view_t *view)
{
    return atomic_load_explicit(&hs_job_of_view(view)->aborted, memory_order_relaxed);
}

static int request_draining(hs_view_t *view)
{
    const hs_completions_t *completions = hs_job_of_view(view)->completions;
    return completions != NULL &&
           atomic_load_explicit(&completions->draining, memory_order_relaxed);
}

static void response_lasts(hs_view_t *view)
{
    hs_job_of_view(view)->lasts = true;
}

static int response_length(hs_view_t *view, double length)
{
    if (!(length >= 0 && length < 9007199254740992.0)) /* 2^53: whole numbers up to here */
        return HS_ERR_INVALID;
    return hs_res_content_length(response_of(view), (uint64_t)length);
}

static int response_write(hs_view_t *view, const char *data, size_t len)
{
    return hs_res_write(response_of(view), data, len);
}

static int response_flush(hs_view_t *view)
{
    return hs_res_flush(response_of(view));
}

/* More is unsent than a client should have waiting. */
static int response_is_full(hs_view_t *view)
{
    const hs_job_t *job = hs_job_of_view(view);
    return atomic_load_explicit(&job->posted, memory_order_relaxed) +
               atomic_load_explicit(&job->chained, memory_order_relaxed) >
           HS_STREAM_LOW_WATER;
}

/* The handler of a suspended request has returned. On a worker, or if the response was sent, the
 * code that started it continues. */
static void request_end(hs_view_t *view, int failed)
{
    hs_job_t *job = hs_job_of_view(view);
    view->wake = 0;
    if (failed)
        hs_res_break_off(&job->response, failed);
    if (hs_job_state(job) == HS_JOB_SUSPENDED)
        hs_res_end_suspended(&job->response);
}

static int response_reset(hs_view_t *view)
{
    hs_response_t *response = response_of(view);
    if (response->sending != HS_SENDING_BUILDING)
        return HS_ERR_STATE;
    hs_res_begin(response);
    return HS_OK;
}

static int response_status(hs_view_t *view, int status)
{
    return hs_res_status(response_of(view), status);
}

static int response_header(hs_view_t *view, const char *name, size_t name_len, const char *value,
                           size_t value_len)
{
    return hs_res_add_field(response_of(view), hs_span(name, name_len), hs_span(value, value_len));
}

static int response_compress(hs_view_t *view, int compress)
{
    return hs_res_compress(response_of(view), compress != 0);
}

static int response_get_status(hs_view_t *view)
{
    return response_of(view)->status;
}

static const char *response_get(hs_view_t *view, const char *name, size_t name_len)
{
    hs_span_t value;
    if (!hs_res_find_field(response_of(view), hs_span(name, name_len), &value))
        return NULL;
    view->result_len = (uint32_t)value.len;
    return value.data;
}

static int response_body(hs_view_t *view, const char *data, size_t len)
{
    return hs_res_set_body(response_of(view), hs_span(data, len));
}

static int response_pin(hs_view_t *view, void *pins, const char *data, size_t len)
{
    return hs_lua_pins_take(pins, response_of(view), data, len);
}

static int log_enabled(void *log, int level)
{
    return hs_log_enabled(log, (hs_log_level_t)level);
}

static void log_write(const hs_lua_api_t *api, int level, const char *fields, size_t fields_len,
                      const char *text, size_t len)
{
    const hs_job_t *job = hs_job_of((uintptr_t)api->request);
    if (job != NULL)
        hs_job_log_fields(job, (hs_log_level_t)level, hs_span(fields, fields_len),
                          hs_span(text, len));
    else
        hs_log_write_fields(api->log, (hs_log_level_t)level, NULL, fields, fields_len, text, len);
}

void hs_lua_api_init(hs_lua_api_t *api, hs_log_t *log)
{
    *api = (hs_lua_api_t){
        .version = HS_LUA_ABI_VERSION,
        .view_size = sizeof(hs_view_t),
        .generation_bits = HS_HANDLE_GENERATION_BITS,
        .alignment_bits = HS_HANDLE_ALIGNMENT_BITS,
        .log = log,
        .method_name = method_name,
        .request_path = request_path,
        .request_query = request_query,
        .request_header = request_header,
        .request_field_name = request_field_name,
        .request_field_value = request_field_value,
        .request_body = request_body,
        .request_version = request_version,
        .request_id = request_id,
        .request_peer = request_peer,
        .request_trusted_peer = request_trusted_peer,
        .request_tls = request_tls,
        .request_trace = request_trace,
        .request_aborted = request_aborted,
        .request_draining = request_draining,
        .request_take = hs_lua_content_take,
        .request_collect = hs_lua_content_collect,
        .request_end = request_end,
        .call_begin = hs_lua_calls_begin,
        .call_result = hs_lua_calls_result,
        .call_end = hs_lua_calls_end,
        .response_reset = response_reset,
        .response_status = response_status,
        .response_header = response_header,
        .response_compress = response_compress,
        .response_get_status = response_get_status,
        .response_get = response_get,
        .response_body = response_body,
        .response_pin = response_pin,
        .response_length = response_length,
        .response_write = response_write,
        .response_flush = response_flush,
        .response_is_full = response_is_full,
        .response_lasts = response_lasts,
        .log_enabled = log_enabled,
        .log_write = log_write,
    };
}
