#include "exec/hs_websocket_deflate.h"

#include "base/hs_alloc.h"

/* zlib's level: higher ones are slightly shorter and much slower. */
#define LEVEL 3

/* owner: its socket, or all that share it */
struct hs_websocket_deflate {
    hs_websocket_codec_t codec; /* first */
    hs_websocket_deflates_t *all;
    hs_ws_terms_t terms;
    hs_ws_contexts_t contexts;
};

static hs_websocket_deflate_t *deflate_of(hs_websocket_codec_t *codec)
{
    return HS_CONTAINER_OF(codec, hs_websocket_deflate_t, codec);
}

static int decode(hs_websocket_codec_t *codec, hs_span_t message, size_t most, hs_buf_t *out)
{
    hs_websocket_deflate_t *self = deflate_of(codec);
    switch (hs_ws_inflate(self->all->contexts, &self->terms, &self->contexts, message, most, out)) {
    case HS_WS_INFLATED:
        return HS_OK;
    case HS_WS_INFLATE_CORRUPT:
        return HS_ERR_INVALID;
    case HS_WS_INFLATE_TOO_BIG:
        return HS_ERR_LIMIT;
    case HS_WS_INFLATE_NO_MEMORY:
        return HS_ERR_NOMEM;
    }
    return HS_ERR_INVALID;
}

static bool encode(hs_websocket_codec_t *codec, int kind, hs_span_t message, hs_buf_t *out)
{
    hs_websocket_deflate_t *self = deflate_of(codec);
    (void)kind;
    if (message.len < HS_WEBSOCKET_DEFLATE_MIN)
        return false;
    switch (hs_ws_deflate(self->all->contexts, &self->terms, &self->contexts, message, out)) {
    case HS_WS_DEFLATED:
        return true;
    case HS_WS_DEFLATE_AS_IS:
        return false;
    case HS_WS_DEFLATE_NO_MEMORY:
        /* The context has seen data that the client has not: the next message starts without it. */
        hs_ws_contexts_end(self->all->contexts, &self->contexts);
        return false;
    }
    return false;
}

static void free_codec(hs_websocket_codec_t *codec)
{
    hs_websocket_deflate_t *self = deflate_of(codec);
    hs_ws_contexts_end(self->all->contexts, &self->contexts);
    hs_free(self);
}

static void keep_codec(hs_websocket_codec_t *codec)
{
    (void)codec;
}

static hs_websocket_deflate_t *new_codec(hs_websocket_deflates_t *all, const hs_ws_terms_t *terms)
{
    hs_websocket_deflate_t *self = hs_alloc_zeroed(1, sizeof(*self));
    if (self == NULL)
        return NULL;
    self->codec = (hs_websocket_codec_t){ .decode = decode, .encode = encode, .free = free_codec };
    self->all = all;
    self->terms = *terms;
    return self;
}

/* NULL: out of memory. */
static hs_websocket_deflate_t *codec_for(hs_websocket_deflates_t *all, const hs_ws_terms_t *terms)
{
    if (all->contexts == NULL)
        all->contexts = hs_ws_deflates_new(LEVEL);
    if (all->contexts == NULL)
        return NULL;
    if (terms->server_takeover || terms->client_takeover)
        return new_codec(all, terms);
    hs_websocket_deflate_t **shared = &all->shared[terms->server_bits];
    if (*shared == NULL && (*shared = new_codec(all, terms)) != NULL) {
        (*shared)->codec.free = keep_codec;
        (*shared)->codec.is_shared = true;
    }
    return *shared;
}

static bool negotiate(void *context, const hs_msg_t *msg, hs_buf_t *accepted,
                      hs_websocket_codec_t **codec)
{
    hs_websocket_deflates_t *all = context;
    hs_ws_terms_t terms;
    char value[HS_WS_TERMS_CAP];
    *codec = NULL;
    if (!hs_ws_agree(msg, &all->wanted, &terms))
        return false;
    if (!terms.is_on)
        return true;
    hs_websocket_deflate_t *self = codec_for(all, &terms);
    if (self != NULL && hs_buf_append(accepted, value, hs_ws_put_terms(&terms, value)))
        *codec = &self->codec;
    else if (self != NULL)
        self->codec.free(&self->codec);
    return true;
}

void hs_websocket_deflates_init(hs_websocket_deflates_t *all, hs_websocket_hub_t *hub,
                                const hs_ws_terms_wanted_t *wanted)
{
    *all = (hs_websocket_deflates_t){ .wanted = *wanted };
    if (!wanted->is_on)
        return;
    hub->negotiate = negotiate;
    hub->negotiate_context = all;
}

void hs_websocket_deflates_end(hs_websocket_deflates_t *all)
{
    for (int bits = HS_WS_WINDOW_MIN; bits <= HS_WS_WINDOW_MAX; bits++)
        hs_free(all->shared[bits]);
    hs_ws_deflates_free(all->contexts);
    *all = (hs_websocket_deflates_t){ 0 };
}
