/* hs_out when memory runs out: a failed call has changed nothing, and its data is not released. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc_fault.h"
#include "data/hs_out.h"

static unsigned released;

static void count_release(void *context, uintptr_t token)
{
    (void)context;
    (void)token;
    released++;
}

static const hs_release_t counted = { count_release, NULL, 0 };

static size_t pieces_len(const hs_out_t *out)
{
    struct iovec iov[HS_OUT_IOV_MAX];
    int count = hs_out_pieces(out, iov);
    size_t len = 0;
    for (int i = 0; i < count; i++)
        len += iov[i].iov_len;
    return len;
}

static void a_refused_copy_changes_nothing(void **state)
{
    (void)state;
    static const char data[100000];
    size_t live = alloc_fault_live();
    hs_out_t out = { 0 };
    alloc_fault_arm(1, true);
    assert_false(hs_out_append(&out, data, 1));
    alloc_fault_disarm();
    assert_int_equal(hs_out_unsent(&out), 0);
    assert_true(hs_out_append(&out, data, 100));
    alloc_fault_arm(1, true);
    assert_false(hs_out_append(&out, data, sizeof(data)));
    alloc_fault_disarm();
    assert_int_equal(hs_out_unsent(&out), 100);
    assert_int_equal(pieces_len(&out), 100);
    hs_out_free(&out);
    assert_int_equal(alloc_fault_live(), live);
}

/* The first segment of a chain needs no memory, the others one block each. */
static void a_refused_segment_is_still_the_callers(void **state)
{
    (void)state;
    static const char data[100];
    size_t live = alloc_fault_live();
    hs_out_t out = { 0 };
    hs_buf_t buf = { 0 };
    assert_true(hs_buf_append(&buf, data, sizeof(data)));
    released = 0;
    alloc_fault_arm(1, true);
    assert_true(hs_out_pin(&out, data, 10, counted));
    assert_false(hs_out_pin(&out, data, 10, counted));
    assert_false(hs_out_add_file(&out, 0, 0, 10, HS_OUT_ANY_TIME, 0, counted));
    assert_false(hs_out_take_buf(&out, &buf));
    alloc_fault_disarm();
    assert_int_equal(released, 0);
    assert_int_equal(buf.len, sizeof(data));
    assert_int_equal(hs_out_unsent(&out), 10);
    assert_int_equal(pieces_len(&out), 10);
    assert_true(hs_out_take_buf(&out, &buf));
    assert_int_equal(hs_out_unsent(&out), 110);
    hs_out_taken(&out, 10);
    assert_int_equal(released, 1);
    /* The inlined one is free again. */
    alloc_fault_arm(1, true);
    assert_true(hs_out_pin(&out, data, 10, counted));
    alloc_fault_disarm();
    hs_out_clear(&out);
    assert_int_equal(released, 2);
    hs_out_free(&out);
    hs_buf_free(&buf);
    assert_int_equal(alloc_fault_live(), live);
}

/* Responses of one large buffer each, one after the other. */
static void the_steady_state_allocates_nothing(void **state)
{
    (void)state;
    static const char data[20000];
    size_t live = alloc_fault_live();
    hs_out_t out = { 0 };
    hs_buf_t buf = { 0 };
    for (unsigned i = 0; i < 20; i++) {
        if (i == 3)
            alloc_fault_arm(0, false);
        assert_true(hs_out_append(&out, data, 200));
        assert_true(hs_buf_append(&buf, data, sizeof(data)));
        assert_true(hs_out_take_buf(&out, &buf));
        hs_out_taken(&out, 200 + sizeof(data));
    }
    assert_int_equal(alloc_fault_disarm(), 0);
    hs_buf_free(&buf);
    hs_out_free(&out);
    assert_int_equal(alloc_fault_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refused_copy_changes_nothing),
        cmocka_unit_test(a_refused_segment_is_still_the_callers),
        cmocka_unit_test(the_steady_state_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
