#include "httpserver.h"

#include "exec/hs_job.h"
#include "http/hs_parse.h"
#include "http/hs_target.h"

int hs_req_method(const hs_request_t *request)
{
    return request->msg.method;
}

const char *hs_req_method_str(const hs_request_t *request)
{
    return hs_parse_method_name(request->msg.method);
}

const char *hs_req_url(const hs_request_t *request)
{
    return hs_msg_url(&request->msg).data;
}

const char *hs_req_http_version(const hs_request_t *request)
{
    return request->msg.minor_version == 0 ? "1.0" : "1.1";
}

const char *hs_req_id(const hs_request_t *request)
{
    /* The request is part of a job that is not const: the text is stored there. */
    hs_job_t *job = HS_CONTAINER_OF(request, hs_job_t, request);
    hs_job_texts_t *texts = hs_job_texts(job);
    if (texts == NULL)
        return "";
    (void)hs_job_format_id(job, texts->id);
    return texts->id;
}

const char *hs_req_header(const hs_request_t *request, const char *name)
{
    const hs_field_t *field = hs_msg_find(&request->msg, hs_span(name, strlen(name)));
    return field == NULL ? NULL : hs_msg_field_value(&request->msg, field).data;
}

const char *hs_req_url_n(const hs_request_t *request, size_t *length)
{
    hs_span_t url = hs_msg_url(&request->msg);
    if (length != NULL)
        *length = url.len;
    return url.data;
}

const char *hs_req_header_n(const hs_request_t *request, const char *name, size_t *length)
{
    const hs_field_t *field = hs_msg_find(&request->msg, hs_span(name, strlen(name)));
    if (length != NULL)
        *length = field == NULL ? 0 : field->value_len;
    return field == NULL ? NULL : hs_msg_field_value(&request->msg, field).data;
}

/* The position of the query's `?`, or the end of the target. */
static size_t query_at(hs_span_t url)
{
    const char *mark = memchr(url.data, '?', url.len);
    return mark == NULL ? url.len : (size_t)(mark - url.data);
}

const char *hs_req_path(const hs_request_t *request, size_t *length)
{
    hs_span_t url = hs_msg_url(&request->msg);
    size_t end = query_at(url);
    unsigned port;
    hs_span_t authority = hs_target_authority(url, &port);
    if (authority.len == 0) {
        *length = end;
        return url.data;
    }
    const char *path = authority.data + authority.len;
    *length = (size_t)(url.data + end - path);
    if (*length > 0)
        return path;
    *length = 1; /* RFC 9110 §4.2.3: an empty path is the same as "/" */
    return "/";
}

const char *hs_req_query(const hs_request_t *request, size_t *length)
{
    hs_span_t url = hs_msg_url(&request->msg);
    size_t at = query_at(url);
    if (at < url.len)
        at++;
    if (length != NULL)
        *length = url.len - at;
    return url.data + at; /* the target ends in a NUL */
}

size_t hs_req_header_count(const hs_request_t *request)
{
    return request->msg.field_count;
}

bool hs_req_header_at(const hs_request_t *request, size_t index, const char **name,
                      const char **value)
{
    const hs_msg_t *msg = &request->msg;
    if (index >= msg->field_count)
        return false;
    *name = hs_msg_field_name(msg, &msg->fields[index]).data;
    *value = hs_msg_field_value(msg, &msg->fields[index]).data;
    return true;
}

const char *hs_req_peer_address(const hs_request_t *request)
{
    /* Written into the job, by the one thread that owns it. */
    hs_job_t *job = HS_CONTAINER_OF((hs_request_t *)(uintptr_t)request, hs_job_t, request);
    hs_job_texts_t *texts = hs_job_texts(job);
    return texts != NULL ? hs_peer_text(&job->peer, texts->peer) : "";
}

const char *hs_req_trusted_peer(const hs_request_t *request)
{
    hs_job_t *job = HS_CONTAINER_OF((hs_request_t *)(uintptr_t)request, hs_job_t, request);
    hs_peer_t client = hs_job_client(job);
    hs_job_texts_t *texts = hs_job_texts(job);
    return texts != NULL ? hs_peer_text(&client, texts->client) : "";
}

static const hs_job_t *job_of_request(const hs_request_t *request)
{
    return (const hs_job_t *)(const void *)((const char *)request - offsetof(hs_job_t, request));
}

const char *hs_req_scheme(const hs_request_t *request)
{
    return hs_job_is_https(job_of_request(request)) ? "https" : "http";
}

const hs_tls_peer_t *hs_req_tls(const hs_request_t *request)
{
    const hs_tls_info_t *info = job_of_request(request)->tls;
    return info != NULL ? &info->peer : NULL;
}

uint16_t hs_req_peer_port(const hs_request_t *request)
{
    return job_of_request(request)->peer.port;
}

bool hs_req_in_worker(const hs_request_t *request)
{
    return job_of_request(request)->in_worker;
}

void *hs_req_user_data(const hs_request_t *request)
{
    return job_of_request(request)->user_data;
}

hs_shared_t *hs_req_shared(const hs_request_t *request, const char *name)
{
    const hs_shared_set_t *set = job_of_request(request)->pool->shared;
    const hs_shared_member_t *member =
        set == NULL ? NULL : hs_shared_set_find(set, HS_SHARED_DICTIONARY, name);
    return member == NULL ? NULL : member->dictionary;
}

const char *hs_req_body(const hs_request_t *request, size_t *length)
{
    if (length != NULL)
        *length = request->msg.body.len;
    return request->msg.body.data;
}
