/* hs_out: whatever is appended comes out in order, in steps of any size, and is released once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "data/hs_out.h"

#define ALL SIZE_MAX /* a step: as much as there is */
#define SEGMENTS_MAX 64
#define SOURCE_SIZE (256 * 1024)
/* Not a kind of hs_out_segment_t: copies. */
#define BYTES (-1)

/* A chain and its expected output. */
typedef struct model {
    hs_out_t out;
    hs_buf_t expected;
    size_t taken;
    struct {
        size_t end; /* where it ends in `expected` */
        unsigned released;
    } segments[SEGMENTS_MAX];
    size_t segment_count;
} model_t;

static char source[SOURCE_SIZE]; /* every byte depends on its position */
static int source_file;

static int make_source(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(source); i++)
        source[i] = (char)(i * 131 + (i >> 8) * 17 + 1);
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(fwrite(source, 1, sizeof(source), file), sizeof(source));
    assert_int_equal(fflush(file), 0);
    source_file = dup(fileno(file));
    fclose(file);
    return source_file < 0 ? -1 : 0;
}

static int close_source(void **state)
{
    (void)state;
    return close(source_file);
}

static void count_release(void *context, uintptr_t token)
{
    model_t *model = context;
    model->segments[token].released++;
}

/* Appends `len` bytes; the source is read from where `expected` ends, so that all pieces differ
 * from each other. */
static void append(model_t *model, int kind, size_t len)
{
    size_t at = model->expected.len % (SOURCE_SIZE / 2);
    assert_true(len <= SOURCE_SIZE / 2);
    hs_release_t release = { count_release, model, model->segment_count };
    hs_buf_t buf = { 0 };
    switch (kind) {
    case BYTES:
        assert_true(hs_out_append(&model->out, source + at, len));
        break;
    case HS_OUT_OWNED:
        assert_true(hs_buf_append(&buf, source + at, len));
        assert_true(hs_out_take_buf(&model->out, &buf));
        assert_int_equal(buf.len, 0);
        hs_buf_free(&buf);
        break;
    case HS_OUT_PINNED:
        assert_true(hs_out_pin(&model->out, source + at, len, release));
        break;
    case HS_OUT_FILE:
        assert_true(
            hs_out_add_file(&model->out, source_file, at, len, HS_OUT_ANY_TIME, 0, release));
        break;
    default:
        fail();
    }
    assert_true(hs_buf_append(&model->expected, source + at, len));
    if (kind == HS_OUT_PINNED || kind == HS_OUT_FILE) {
        assert_true(model->segment_count < SEGMENTS_MAX);
        model->segments[model->segment_count++].end = model->expected.len;
    }
    assert_int_equal(hs_out_unsent(&model->out), model->expected.len - model->taken);
}

/* A segment is released when its last byte is sent, not earlier, and once. */
static void check_releases(const model_t *model)
{
    for (size_t i = 0; i < model->segment_count; i++)
        assert_int_equal(model->segments[i].released, model->segments[i].end <= model->taken);
}

static size_t take_file(model_t *model, const hs_out_segment_t *file, size_t step)
{
    struct iovec iov[HS_OUT_IOV_MAX];
    assert_int_equal(hs_out_pieces(&model->out, iov), 0);
    char data[1024];
    size_t len = hs_min(hs_min(step, sizeof(data)), file->left);
    assert_int_equal(pread(file->file, data, len, (off_t)file->offset), len);
    assert_memory_equal(data, model->expected.data + model->taken, len);
    return len;
}

static size_t take_pieces(model_t *model, size_t step)
{
    struct iovec iov[HS_OUT_IOV_MAX];
    int count = hs_out_pieces(&model->out, iov);
    assert_in_range(count, 1, HS_OUT_IOV_MAX);
    size_t at = model->taken;
    for (int i = 0; i < count; i++) {
        assert_true(iov[i].iov_len > 0);
        assert_memory_equal(iov[i].iov_base, model->expected.data + at, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    return hs_min(step, at - model->taken);
}

/* One send of at most `step` bytes. */
static void take(model_t *model, size_t step)
{
    const hs_out_segment_t *file = hs_out_next_file(&model->out);
    size_t len = file != NULL ? take_file(model, file, step) : take_pieces(model, step);
    hs_out_taken(&model->out, len);
    model->taken += len;
    assert_int_equal(hs_out_unsent(&model->out), model->expected.len - model->taken);
    check_releases(model);
}

static void take_all(model_t *model, size_t step)
{
    while (hs_out_unsent(&model->out) > 0)
        take(model, step);
    assert_int_equal(model->taken, model->expected.len);
    struct iovec iov[HS_OUT_IOV_MAX];
    assert_int_equal(hs_out_pieces(&model->out, iov), 0);
    assert_null(hs_out_next_file(&model->out));
    assert_null(model->out.first);
    assert_false(model->out.inlined_used);
    assert_int_equal(model->out.bytes.len, 0);
}

static void model_free(model_t *model)
{
    hs_out_free(&model->out);
    assert_null(model->out.bytes.data);
    assert_null(model->out.spare.data);
    for (size_t i = 0; i < model->segment_count; i++)
        assert_int_equal(model->segments[i].released, 1);
    hs_buf_free(&model->expected);
}

static const int kinds[] = { BYTES, HS_OUT_OWNED, HS_OUT_PINNED, HS_OUT_FILE };

/* Five pieces, whose kinds are the digits of `number`. */
static void append_five(model_t *model, unsigned number)
{
    static const size_t sizes[] = { 3, 1, 5, 2, 4 };
    for (size_t i = 0; i < 5; i++, number /= 4)
        append(model, kinds[number % 4], sizes[i]);
}

static void every_order_of_kinds_at_every_step(void **state)
{
    (void)state;
    static const size_t steps[] = { ALL, 1, 2, 3, 4, 5, 7 };
    for (unsigned number = 0; number < 1024; number++)
        for (size_t s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
            static model_t model;
            model = (model_t){ 0 };
            append_five(&model, number);
            take_all(&model, steps[s]);
            append_five(&model, 1023 - number); /* the chain is as good as new */
            take_all(&model, steps[s]);
            model_free(&model);
        }
}

/* Sent up to every byte, then cleared: the rest is released then. */
static void clearing_releases_what_is_left(void **state)
{
    (void)state;
    for (unsigned number = 0; number < 1024; number++)
        for (size_t until = 0; until <= 15; until++) {
            static model_t model;
            model = (model_t){ 0 };
            append_five(&model, number);
            while (model.taken < until)
                take(&model, 1);
            hs_out_clear(&model.out);
            assert_int_equal(hs_out_unsent(&model.out), 0);
            for (size_t i = 0; i < model.segment_count; i++)
                assert_int_equal(model.segments[i].released, 1);
            model.taken = model.expected.len;
            append(&model, BYTES, 9);
            append(&model, HS_OUT_PINNED, 9);
            take_all(&model, 4);
            model_free(&model);
        }
}

static uint64_t chance_state;

/* 0 to below - 1 */
static size_t chance(size_t below)
{
    chance_state = chance_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (size_t)(chance_state >> 33) % below;
}

/* Appended while it is being sent, with sizes from a byte to 100 KiB; sometimes compacted. */
static void pieces_of_any_size_in_any_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        static model_t model;
        model = (model_t){ 0 };
        chance_state = seed;
        for (unsigned i = 0; i < SEGMENTS_MAX; i++) {
            append(&model, kinds[chance(4)], 1 + chance((size_t)2 << chance(16)));
            if (chance(4) == 0)
                hs_out_compact(&model.out);
            for (size_t times = chance(4); times > 0 && hs_out_unsent(&model.out) > 0; times--)
                take(&model, 1 + chance((size_t)2 << chance(16)));
        }
        take_all(&model, 1 + chance(100000));
        model_free(&model);
    }
}

/* Small copies are one piece for the kernel, however many there were. */
static void copies_are_coalesced(void **state)
{
    (void)state;
    model_t model = { 0 };
    struct iovec iov[HS_OUT_IOV_MAX];
    for (unsigned i = 0; i < 1000; i++)
        append(&model, BYTES, 10);
    assert_int_equal(hs_out_pieces(&model.out, iov), 1);
    assert_int_equal(iov[0].iov_len, 10000);
    append(&model, HS_OUT_PINNED, 20);
    append(&model, BYTES, 10);
    append(&model, BYTES, 10);
    assert_int_equal(hs_out_pieces(&model.out, iov), 3);
    take_all(&model, ALL);
    model_free(&model);
}

/* Pieces end before a file, which is sent by another system call. */
static void pieces_end_before_a_file(void **state)
{
    (void)state;
    model_t model = { 0 };
    struct iovec iov[HS_OUT_IOV_MAX];
    append(&model, BYTES, 10);
    append(&model, HS_OUT_OWNED, 10);
    append(&model, BYTES, 10);
    append(&model, HS_OUT_FILE, 100);
    append(&model, BYTES, 10);
    assert_null(hs_out_next_file(&model.out));
    assert_int_equal(hs_out_pieces(&model.out, iov), 3);
    hs_out_taken(&model.out, 30);
    const hs_out_segment_t *file = hs_out_next_file(&model.out);
    assert_non_null(file);
    uint64_t offset = file->offset;
    assert_int_equal(hs_out_pieces(&model.out, iov), 0);
    hs_out_taken(&model.out, 40);
    file = hs_out_next_file(&model.out);
    assert_int_equal(file->offset, offset + 40);
    assert_int_equal(file->left, 60);
    hs_out_taken(&model.out, 60);
    assert_null(hs_out_next_file(&model.out));
    assert_int_equal(hs_out_pieces(&model.out, iov), 1);
    hs_out_taken(&model.out, 10);
    assert_int_equal(model.segments[0].released, 1);
    model_free(&model);
}

static void more_pieces_than_one_send_takes(void **state)
{
    (void)state;
    for (size_t first = 0; first < 2; first++) {
        static model_t model;
        model = (model_t){ 0 };
        for (size_t i = 0; i < 60; i++)
            append(&model, i % 2 == first ? BYTES : HS_OUT_PINNED, 1 + i);
        struct iovec iov[HS_OUT_IOV_MAX];
        assert_int_equal(hs_out_pieces(&model.out, iov), HS_OUT_IOV_MAX);
        take_all(&model, ALL);
        model_free(&model);
    }
}

/* A buffer passed in is exchanged for the one sent before: no allocation in the steady state. */
static void a_sent_buffer_is_the_next_ones_exchange(void **state)
{
    (void)state;
    hs_out_t out = { 0 };
    hs_buf_t buf = { 0 };
    assert_true(hs_buf_append(&buf, source, 20000));
    const char *first = buf.data;
    assert_true(hs_out_take_buf(&out, &buf));
    assert_null(buf.data); /* there is none yet */
    hs_out_taken(&out, 20000);
    assert_true(hs_buf_append(&buf, source, 30000));
    const char *second = buf.data;
    assert_true(hs_out_take_buf(&out, &buf));
    assert_ptr_equal(buf.data, first);
    assert_int_equal(buf.len, 0);
    assert_true(buf.capacity >= 20000);
    hs_out_taken(&out, 30000);
    assert_true(hs_buf_append(&buf, source, 1));
    assert_true(hs_out_take_buf(&out, &buf));
    assert_ptr_equal(buf.data, second);
    hs_buf_free(&buf);
    hs_out_free(&out);
}

/* The memory for one large response is not kept. */
static void an_empty_chain_keeps_little(void **state)
{
    (void)state;
    model_t model = { 0 };
    append(&model, BYTES, HS_OUT_KEEP_BYTES + 1);
    append(&model, HS_OUT_OWNED, HS_OUT_KEEP_BYTES + 1);
    take_all(&model, ALL);
    assert_true(model.out.bytes.capacity <= HS_OUT_KEEP_BYTES);
    assert_true(model.out.spare.capacity <= HS_OUT_KEEP_BYTES);
    append(&model, BYTES, 1000);
    append(&model, HS_OUT_OWNED, 1000);
    take_all(&model, ALL);
    assert_true(model.out.bytes.capacity >= 1000);
    assert_true(model.out.spare.capacity >= 1000);
    hs_out_reset(&model.out, 0);
    assert_null(model.out.bytes.data);
    assert_null(model.out.spare.data);
    model_free(&model);
}

/* A chain that is filled as fast as it is drained stays small, and its segments stay in place. */
static void compacting_bounds_a_chain_that_is_never_empty(void **state)
{
    (void)state;
    static model_t model;
    model = (model_t){ 0 };
    append(&model, BYTES, 10000);
    for (unsigned i = 0; i < 2000; i++) {
        append(&model, BYTES, 5000);
        if (i % 100 == 50)
            append(&model, HS_OUT_PINNED, 2500);
        hs_out_compact(&model.out);
        take(&model, 5000);
        if (i % 100 == 51)
            take(&model, 2500);
        assert_true(model.out.bytes.len <= 128 * 1024);
    }
    take_all(&model, 777);
    model_free(&model);
}

/* Compacting at any possible point does not change what is sent. */
static void compacting_moves_no_segment(void **state)
{
    (void)state;
    static const size_t sizes[] = { 40000, 1, 20000, 3000, 50000 };
    for (unsigned number = 0; number < 1024; number += 3) {
        static model_t model;
        model = (model_t){ 0 };
        unsigned digits = number;
        for (size_t i = 0; i < 5; i++, digits /= 4)
            append(&model, kinds[digits % 4], sizes[i]);
        while (hs_out_unsent(&model.out) > 0) {
            take(&model, 9973);
            hs_out_compact(&model.out);
            append(&model, BYTES, model.expected.len < 150000 ? 500 : 0);
        }
        take_all(&model, ALL);
        model_free(&model);
    }
}

static void append_one(void *context, uintptr_t token)
{
    (void)token;
    assert_true(hs_out_append(context, "x", 1));
}

/* A release callback may append to the chain: what it appends is not lost. */
static void a_release_may_append(void **state)
{
    (void)state;
    hs_out_t out = { 0 };
    struct iovec iov[HS_OUT_IOV_MAX];
    assert_true(hs_out_append(&out, "abc", 3));
    assert_true(hs_out_pin(&out, source, 10, (hs_release_t){ append_one, &out, 0 }));
    hs_out_taken(&out, 13);
    assert_int_equal(hs_out_unsent(&out), 1);
    assert_int_equal(hs_out_pieces(&out, iov), 1);
    assert_memory_equal(iov[0].iov_base, "x", 1);
    hs_out_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_order_of_kinds_at_every_step),
        cmocka_unit_test(clearing_releases_what_is_left),
        cmocka_unit_test(pieces_of_any_size_in_any_order),
        cmocka_unit_test(copies_are_coalesced),
        cmocka_unit_test(pieces_end_before_a_file),
        cmocka_unit_test(more_pieces_than_one_send_takes),
        cmocka_unit_test(a_sent_buffer_is_the_next_ones_exchange),
        cmocka_unit_test(an_empty_chain_keeps_little),
        cmocka_unit_test(compacting_bounds_a_chain_that_is_never_empty),
        cmocka_unit_test(compacting_moves_no_segment),
        cmocka_unit_test(a_release_may_append),
    };
    return cmocka_run_group_tests(tests, make_source, close_source);
}
