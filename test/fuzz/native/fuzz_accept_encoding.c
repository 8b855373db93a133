/*
 * libFuzzer target: Accept-Encoding. The first byte chooses what the server offers. A list must
 * mean the same in one field and in several, no element may change the weight of another coding,
 * and the chosen coding must have been offered and not excluded.
 */
#include <stdio.h>
#include <stdlib.h>

#include "http/hs_accept_encoding.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const hs_coding_t order[] = { HS_CODING_BR, HS_CODING_ZSTD, HS_CODING_GZIP };

static void check(bool holds, const char *rule)
{
    if (holds)
        return;
    fprintf(stderr, "broken: %s\n", rule);
    abort();
}

static hs_coding_t choose(const hs_accept_encoding_t *accepted, unsigned offered)
{
    return hs_accept_encoding_choose(accepted, offered, order, 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    unsigned offered = data[0] & 0x0e;
    hs_span_t list = hs_span((const char *)data + 1, size - 1);
    hs_accept_encoding_t whole, parts;
    hs_accept_encoding_init(&whole);
    hs_accept_encoding_add(&whole, list);
    hs_coding_t coding = choose(&whole, offered);
    check(coding == HS_CODING_IDENTITY || (offered & HS_CODING_BIT(coding)) != 0, "it is offered");
    check(coding == HS_CODING_IDENTITY || whole.weights[coding] != 0, "it was not excluded");

    hs_accept_encoding_init(&parts);
    for (size_t at = 0; at <= list.len;) {
        const char *comma = at < list.len ? memchr(list.data + at, ',', list.len - at) : NULL;
        size_t end = comma == NULL ? list.len : (size_t)(comma - list.data);
        hs_accept_encoding_add(&parts, hs_span(list.data + at, end - at));
        at = end + 1;
    }
    check(memcmp(&whole, &parts, sizeof(whole)) == 0, "fields are one list");

    hs_accept_encoding_add(&whole, HS_SPAN_LITERAL("unknown, unknown;q=0, gzip;q=2, , br;x"));
    check(memcmp(&whole, &parts, sizeof(whole)) == 0, "what is unknown changes nothing");
    return 0;
}
