/*
 * libFuzzer target: permessage-deflate. The first byte chooses.
 *
 * Offers: the rest is the value of a field. The agreed parameters are within the limits of zlib,
 * and the response, offered again, gives the same result. Messages: the rest is sent by a client,
 * in messages with a length byte first. None may become longer than allowed, and its content must
 * survive compression.
 */
#include <stdio.h>
#include <stdlib.h>

#include "ws/hs_ws_deflate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST 20000

static void check(bool holds, const char *rule)
{
    if (holds)
        return;
    fprintf(stderr, "broken: %s\n", rule);
    abort();
}

static bool agree(const char *value, size_t len, const hs_ws_terms_wanted_t *wanted,
                  hs_ws_terms_t *terms)
{
    static const char name[] = "sec-websocket-extensions";
    size_t name_len = sizeof(name) - 1;
    char *base = malloc(name_len + len);
    memcpy(base, name, name_len);
    memcpy(base + name_len, value, len);
    hs_field_t field = { .name_len = (uint32_t)name_len,
                         .value_at = (uint32_t)name_len,
                         .value_len = (uint32_t)len };
    hs_msg_t msg = { .base = base, .field_count = 1, .field_cap = 1, .fields = &field };
    bool is_right = hs_ws_agree(&msg, wanted, terms);
    free(base);
    return is_right;
}

static void run_offers(const hs_ws_terms_wanted_t *wanted, const char *value, size_t len)
{
    hs_ws_terms_t terms, again;
    char response[HS_WS_TERMS_CAP];
    if (!agree(value, len, wanted, &terms) || !terms.is_on)
        return;
    check(terms.server_bits >= HS_WS_WINDOW_MIN && terms.server_bits <= HS_WS_WINDOW_MAX,
          "a window that zlib has");
    check(terms.client_bits >= 8 && terms.client_bits <= HS_WS_WINDOW_MAX, "a window of a client");
    check(wanted->takeover || (!terms.server_takeover && !terms.client_takeover),
          "contexts are kept where it is wanted");
    size_t response_len = hs_ws_put_terms(&terms, response);
    check(response_len < HS_WS_TERMS_CAP, "it fits");
    check(agree(response, response_len, wanted, &again) && again.is_on, "it can be read");
    check(terms.server_takeover == again.server_takeover && terms.server_bits == again.server_bits,
          "it says the same");
}

static void return_message(hs_ws_deflates_t *all, const hs_ws_terms_t *terms,
                           hs_ws_contexts_t *ours, hs_ws_contexts_t *theirs, hs_span_t message)
{
    hs_buf_t coded = { 0 };
    hs_buf_t out = { 0 };
    if (hs_ws_deflate(all, terms, ours, message, &coded) == HS_WS_DEFLATED) {
        check(hs_ws_inflate(all, terms, theirs, hs_span(coded.data, coded.len), message.len,
                            &out) == HS_WS_INFLATED,
              "ours can be read");
        check(out.len == message.len && memcmp(out.data, message.data, out.len) == 0,
              "it is what it was");
    }
    hs_buf_free(&coded);
    hs_buf_free(&out);
}

static void run_messages(const hs_ws_terms_t *terms, const uint8_t *data, size_t size)
{
    hs_ws_deflates_t *all = hs_ws_deflates_new(1);
    hs_ws_contexts_t client = { 0 }, ours = { 0 }, theirs = { 0 };
    hs_ws_inflated_t outcome = HS_WS_INFLATED;
    for (size_t at = 0; at < size && outcome == HS_WS_INFLATED;) {
        size_t len = hs_min(data[at] * (size_t)8, size - at - 1);
        char *coded = malloc(len + (len == 0));
        hs_buf_t out = { 0 };
        memcpy(coded, data + at + 1, len);
        outcome = hs_ws_inflate(all, terms, &client, hs_span(coded, len), MOST, &out);
        check(out.len <= MOST + 1, "no more than one byte too many");
        if (outcome == HS_WS_INFLATED) {
            check(out.len <= MOST, "not too long");
            return_message(all, terms, &ours, &theirs, hs_span(out.data, out.len));
        }
        free(coded);
        hs_buf_free(&out);
        at += 1 + len;
    }
    hs_ws_contexts_end(all, &client);
    hs_ws_contexts_end(all, &ours);
    hs_ws_contexts_end(all, &theirs);
    hs_ws_deflates_free(all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    uint8_t bits = (uint8_t)(HS_WS_WINDOW_MIN + (data[0] >> 2) % 7);
    bool takeover = data[0] & 1;
    const hs_ws_terms_wanted_t wanted = { .is_on = true,
                                          .takeover = takeover,
                                          .window_bits = bits };
    const hs_ws_terms_t terms = { .is_on = true,
                                  .server_takeover = takeover,
                                  .client_takeover = takeover,
                                  .server_bits = bits,
                                  .client_bits = bits };
    if (data[0] & 2)
        run_offers(&wanted, (const char *)data + 1, size - 1);
    else
        run_messages(&terms, data + 1, size - 1);
    return 0;
}
