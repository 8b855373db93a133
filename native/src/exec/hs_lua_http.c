#include "exec/hs_lua_http.h"

#include "http/hs_inflate.h"
#include "http/hs_parse_response.h"

/* owner: the Lua state that made it */
typedef struct reply {
    hs_lua_reply_t view;
    hs_parse_response_t parse;
} reply_t;

static reply_t *reply_of(hs_lua_reply_t *view)
{
    return HS_CONTAINER_OF(view, reply_t, view);
}

static hs_lua_reply_t *reply_new(void)
{
    reply_t *reply = hs_alloc_zeroed(1, sizeof(*reply));
    if (reply == NULL)
        return NULL;
    hs_parse_response_init(&reply->parse);
    return &reply->view;
}

static void reply_free(hs_lua_reply_t *view)
{
    reply_t *reply = reply_of(view);
    hs_parse_response_free(&reply->parse);
    hs_free(reply);
}

static void reply_begin(hs_lua_reply_t *view, uint32_t to_head)
{
    *view = (hs_lua_reply_t){ 0 };
    hs_parse_response_begin(&reply_of(view)->parse, to_head != 0);
}

static void show(reply_t *reply)
{
    const hs_parse_response_t *parse = &reply->parse;
    reply->view.reusable = hs_parse_response_is_reusable(parse);
    reply->view.content = parse->content.data;
    reply->view.content_len = parse->content.len;
}

static uint32_t reply_next(hs_lua_reply_t *view, const char *data, size_t len)
{
    reply_t *reply = reply_of(view);
    const hs_parse_response_t *parse = &reply->parse;
    hs_response_outcome_t outcome = hs_parse_response_next(&reply->parse, data, len, &view->taken);
    if (outcome == HS_RESPONSE_HEAD) {
        view->status = parse->status;
        view->content_length = parse->content_length;
        view->head = parse->head.data;
        view->head_len = parse->head.len;
    }
    show(reply);
    return outcome;
}

static uint32_t reply_end(hs_lua_reply_t *view)
{
    reply_t *reply = reply_of(view);
    hs_response_outcome_t outcome = hs_parse_response_end(&reply->parse);
    show(reply);
    return outcome;
}

static const char *refusal_name(uint32_t outcome)
{
    return hs_response_refusal_name((hs_response_outcome_t)outcome);
}

/* owner: the Lua state that made it */
typedef struct decoder {
    hs_lua_decoder_t view;
    hs_inflate_t *inflate;
} decoder_t;

static decoder_t *decoder_of(hs_lua_decoder_t *view)
{
    return HS_CONTAINER_OF(view, decoder_t, view);
}

static hs_lua_decoder_t *decoder_new(uint32_t format)
{
    decoder_t *decoder = hs_alloc_zeroed(1, sizeof(*decoder));
    if (decoder == NULL)
        return NULL;
    decoder->inflate = hs_inflate_new((hs_inflate_format_t)format);
    if (decoder->inflate != NULL)
        return &decoder->view;
    hs_free(decoder);
    return NULL;
}

static void decoder_free(hs_lua_decoder_t *view)
{
    decoder_t *decoder = decoder_of(view);
    hs_inflate_free(decoder->inflate);
    hs_free(decoder);
}

static uint32_t decoder_next(hs_lua_decoder_t *view, const char *data, size_t len)
{
    hs_span_t out;
    hs_inflate_outcome_t outcome =
        hs_inflate_next(decoder_of(view)->inflate, data, len, &view->taken, &out);
    view->out = out.data;
    view->out_len = out.len;
    return outcome;
}

static uint32_t decoder_is_complete(hs_lua_decoder_t *view)
{
    return hs_inflate_is_complete(decoder_of(view)->inflate);
}

const hs_lua_http_api_t hs_lua_http_api = {
    .version = HS_LUA_HTTP_ABI_VERSION,
    .reply_size = sizeof(hs_lua_reply_t),
    .reply_new = reply_new,
    .reply_free = reply_free,
    .reply_begin = reply_begin,
    .reply_next = reply_next,
    .reply_end = reply_end,
    .refusal_name = refusal_name,
    .decoder_new = decoder_new,
    .decoder_free = decoder_free,
    .decoder_next = decoder_next,
    .decoder_is_complete = decoder_is_complete,
};
