/*
 * Runs the wire documents against the connection without I/O: with rings of 64 bytes, 256 bytes and
 * 8 KiB, whole, byte by byte, cut at every place, and behind a request that moves the case to every
 * offset of the ring.
 *
 *     test_wire_cases [directory] [part of a case's name]
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "wire_app.h"
#include "wire_doc.h"
#include "wire_expect.h"
#include "wire_link.h"

/* A longer case is cut at a stride, so that it makes this many runs. */
#define CUTS_MAX 2048
/* The shortest request in front: its target is a slash. */
#define LEAD_MIN 27
#define WHY_SIZE 512

static const uint32_t ring_sizes[] = { 64, 256, 8192 };

/* How one run differs from the others. */
typedef struct run {
    size_t cut;      /* the first segment's length; 0: one segment */
    size_t lead_len; /* bytes of a request in front, 0: none */
    size_t step;     /* bytes of each segment, 0: as `cut` says */
    size_t send_max;
} run_t;

static void put_escaped(hs_span_t bytes)
{
    for (size_t i = 0; i < bytes.len && i < 2000; i++) {
        unsigned char c = (unsigned char)bytes.data[i];
        if (c == '\r')
            fputs("\\r", stderr);
        else if (c == '\n')
            fputs("\\n\n", stderr);
        else if (c < 0x20 || c > 0x7e)
            fprintf(stderr, "\\x%02x", c);
        else
            fputc(c, stderr);
    }
    fputc('\n', stderr);
}

/* A complete request of `len` bytes; `content` gets what the app responds with. */
static void make_lead(char *to, size_t len, char *content, size_t content_size)
{
    static const char behind[] = " HTTP/1.1\r\nHost: a\r\n\r\n";
    size_t target_len = len - strlen("GET ") - strlen(behind);
    char target[512];
    memset(target, 'l', target_len);
    target[0] = '/';
    target[target_len] = '\0';
    snprintf(to, len + 1, "GET %s%s", target, behind);
    snprintf(content, content_size, "GET %s 1.1 []", target);
}

static void feed(wire_link_t *link, const wire_case_t *wire, const run_t *run)
{
    const char *data = wire->request.data;
    size_t len = wire->request.len;
    size_t at = 0;
    while (at < len) {
        size_t piece = run->step > 0 ? run->step : at == 0 && run->cut > 0 ? run->cut : len - at;
        piece = hs_min(piece, len - at);
        wire_link_feed(link, data + at, piece);
        at += piece;
    }
}

/* The request in front and the case in one segment, so that the ring is not rewound in between. */
static void feed_behind_lead(wire_link_t *link, const wire_case_t *wire, const char *lead,
                             size_t lead_len)
{
    hs_buf_t all = { 0 };
    if (!hs_buf_append(&all, lead, lead_len) ||
        !hs_buf_append(&all, wire->request.data, wire->request.len))
        abort();
    wire_link_feed(link, all.data, all.len);
    hs_buf_free(&all);
}

static bool check_end(wire_link_t *link, wire_end_t end, char *why)
{
    bool over = wire_link_is_over(link);
    bool idle = !over && hs_conn_is_idle(&link->conn) && link->conn.job == NULL;
    bool reads = !over && link->conn.phase == HS_CONN_OPEN && !idle;
    bool right = end == WIRE_END_CLOSED ? over : end == WIRE_END_OPEN ? idle : reads;
    if (!right) {
        snprintf(why, WHY_SIZE, "the end is %s", over ? "closed" : idle ? "open" : "waiting");
        return false;
    }
    size_t sent = link->got.len;
    wire_link_shut(link);
    if (link->got.len == sent)
        return true;
    snprintf(why, WHY_SIZE, "something was said after the peer's end");
    return false;
}

static bool run_once(wire_link_t *link, const wire_case_t *wire, const run_t *run, char *why)
{
    char lead[1024];
    char lead_content[1024];
    wire_end_t end;
    link->send_max = run->send_max;
    wire_link_open(link);
    if (run->lead_len > 0) {
        make_lead(lead, run->lead_len, lead_content, sizeof(lead_content));
        feed_behind_lead(link, wire, lead, run->lead_len);
    } else {
        feed(link, wire, run);
    }
    bool good = wire_expect(wire->responses, run->lead_len > 0 ? lead_content : NULL,
                            hs_span(link->got.data, link->got.len), &end, why, WHY_SIZE) &&
                check_end(link, end, why);
    wire_link_close(link);
    return good;
}

static void must(wire_link_t *link, const wire_case_t *wire, run_t run)
{
    char why[WHY_SIZE];
    if (run_once(link, wire, &run, why))
        return;
    fprintf(stderr, "%s\n  ring %u, cut %zu, step %zu, request in front %zu: %s\n  sent was:\n",
            wire->name, link->limits.ring_size, run.cut, run.step, run.lead_len, why);
    put_escaped(hs_span(link->got.data, link->got.len));
    fail();
}

static void run_with_ring(const wire_case_t *wire, uint32_t ring_size)
{
    hs_limits_t limits = wire->limits;
    limits.ring_size = ring_size;
    wire_link_t link;
    wire_link_init(&link, &limits, wire_app, NULL);
    size_t len = wire->request.len;
    must(&link, wire, (run_t){ 0 });
    must(&link, wire, (run_t){ .step = 1 });
    must(&link, wire, (run_t){ .step = 1, .send_max = 1 });
    must(&link, wire, (run_t){ .step = 3, .send_max = 7 });
    size_t stride = len / CUTS_MAX + 1;
    for (size_t cut = 1; cut < len; cut += stride)
        must(&link, wire, (run_t){ .cut = cut });
    size_t longest = hs_min(hs_min(ring_size, 256), LEAD_MIN - 1 + limits.max_url);
    for (size_t lead = LEAD_MIN; lead <= longest && len <= CUTS_MAX; lead++)
        must(&link, wire, (run_t){ .lead_len = lead });
    wire_link_free(&link);
}

static void run_case(void **state)
{
    const wire_case_t *wire = *state;
    for (size_t i = 0; i < sizeof(ring_sizes) / sizeof(ring_sizes[0]); i++)
        if (ring_sizes[i] >= wire->ring_min)
            run_with_ring(wire, ring_sizes[i]);
}

int main(int argc, char **argv)
{
    wire_cases_t cases = wire_doc_load(argc > 1 ? argv[1] : "test/wire");
    struct CMUnitTest *tests = calloc(cases.count + 1, sizeof(*tests));
    if (tests == NULL)
        return 1;
    size_t count = 0;
    for (size_t i = 0; i < cases.count; i++)
        if (argc < 3 || strstr(cases.at[i].name, argv[2]) != NULL)
            tests[count++] = (struct CMUnitTest){ .name = cases.at[i].name,
                                                  .test_func = run_case,
                                                  .initial_state = &cases.at[i] };
    int failed = count == 0 ? 1 : _cmocka_run_group_tests("wire", tests, count, NULL, NULL);
    free(tests);
    wire_doc_free(&cases);
    return failed;
}
