/*
 * libFuzzer target: client addresses from proxies, in fields and in headers of the PROXY protocol.
 *
 * The first byte of an input chooses: X-Forwarded-For, Forwarded, or a PROXY header. Fields are
 * separated by newlines. Whatever precedes the element appended by a proxy must change nothing;
 * a header must give the same result at any segmentation.
 */
#include <stdio.h>
#include <stdlib.h>

#include "http/forwarded_run.h"
#include "http/hs_proxy_header.h"

#define TEXT_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds, const char *sentence)
{
    if (holds)
        return;
    fprintf(stderr, "broken: %s\n", sentence);
    abort();
}

static bool is_same(const hs_peer_t *a, const char *text)
{
    hs_peer_t b;
    check(hs_peer_parse(hs_span(text, strlen(text)), &b), "an address");
    return a->family == b.family && memcmp(a->bytes, b.bytes, sizeof(b.bytes)) == 0;
}

static void run_field(hs_forwarded_field_t field, const uint8_t *data, size_t size)
{
    static hs_forwarding_t forwarding;
    const hs_peer_t peer = { .bytes = { 10, 0, 0, 1 }, .family = 4 };
    char text[TEXT_MAX + 64];
    const char *appended =
        field == HS_FORWARDED_RFC7239 ? "for=\"192.0.2.1:1\";host=\"a\\\",b\"" : "192.0.2.1";
    forwarding.field = field;
    check(hs_networks_parse(&forwarding.trusted, "10.0.0.0/8", NULL) == HS_OK, "networks");
    memcpy(text, data, size);
    hs_peer_t client = forwarded_run(&forwarding, peer, text, size);
    check(client.family == 4 || client.family == 6, "a client has an address");
    for (const char *between = ",\n"; *between != '\0'; between++) {
        size_t lines = 0;
        for (size_t i = 0; i < size; i++)
            lines += data[i] == '\n';
        if (lines + 2 > FORWARDED_RUN_FIELDS)
            return; /* later fields are not created */
        memcpy(text, data, size);
        int len = snprintf(text + size, sizeof(text) - size, "%c %s", *between, appended);
        client = forwarded_run(&forwarding, peer, text, size + (size_t)len);
        check(is_same(&client, "192.0.2.1"), "what a proxy appends stands");
    }
}

static void run_header(const uint8_t *data, size_t size)
{
    hs_proxy_header_t whole;
    hs_proxy_outcome_t outcome = hs_proxy_header_read((const char *)data, size, &whole);
    for (size_t len = 0; len <= size; len++) {
        char *copy = malloc(len + 1);
        check(copy != NULL, "memory");
        memcpy(copy, data, len);
        hs_proxy_header_t part;
        hs_proxy_outcome_t now = hs_proxy_header_read(copy, len, &part);
        free(copy);
        if (outcome == HS_PROXY_COMPLETE) {
            check(now == (len < whole.len ? HS_PROXY_NEED_MORE : HS_PROXY_COMPLETE),
                  "a header is complete at its last byte");
            check(now != HS_PROXY_COMPLETE ||
                      (part.len == whole.len && part.has_source == whole.has_source &&
                       part.source.family == whole.source.family &&
                       part.source.port == whole.source.port &&
                       memcmp(part.source.bytes, whole.source.bytes, 16) == 0),
                  "what follows a header does not count");
        } else {
            check(now != HS_PROXY_COMPLETE, "more bytes do not unmake a header");
            check(now == HS_PROXY_NEED_MORE || outcome == HS_PROXY_MALFORMED,
                  "what is malformed stays so");
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > TEXT_MAX)
        return 0;
    switch (data[0] % 3) {
    case 0:
        run_field(HS_FORWARDED_X_FORWARDED_FOR, data + 1, size - 1);
        break;
    case 1:
        run_field(HS_FORWARDED_RFC7239, data + 1, size - 1);
        break;
    default:
        run_header(data + 1, size - 1);
        break;
    }
    return 0;
}
