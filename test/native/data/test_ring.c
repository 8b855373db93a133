/* hs_ring: positions of bytes, at every offset of a small ring and where positions wrap around. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "data/hs_ring.h"

#define CAPACITY 64u

static hs_ring_t ring_at(char *memory, uint32_t position)
{
    hs_ring_t ring;
    hs_ring_init(&ring, memory, CAPACITY);
    ring.head = ring.tail = position;
    return ring;
}

/* Receives bytes like a socket: into the pieces of hs_ring_write_vec. */
static uint32_t receive(hs_ring_t *ring, const char *data, uint32_t len)
{
    struct iovec iov[2];
    int count = hs_ring_write_vec(ring, iov);
    uint32_t done = 0;
    for (int i = 0; i < count && done < len; i++) {
        uint32_t piece = (uint32_t)hs_min(iov[i].iov_len, len - done);
        memcpy(iov[i].iov_base, data + done, piece);
        done += piece;
    }
    hs_ring_commit(ring, done);
    return done;
}

static void fill_pattern(char *data, uint32_t len, uint32_t seed)
{
    for (uint32_t i = 0; i < len; i++)
        data[i] = (char)(seed * 31 + i * 7 + 1);
}

static void a_new_ring_is_empty_and_takes_its_capacity(void **state)
{
    (void)state;
    char memory[CAPACITY];
    hs_ring_t ring;
    hs_ring_init(&ring, memory, CAPACITY);
    assert_int_equal(hs_ring_used(&ring), 0);
    assert_int_equal(hs_ring_free(&ring), CAPACITY);
    assert_int_equal(hs_ring_readable(&ring, 0), 0);
    struct iovec iov[2];
    assert_int_equal(hs_ring_write_vec(&ring, iov), 1);
    assert_ptr_equal(iov[0].iov_base, memory);
    assert_int_equal(iov[0].iov_len, CAPACITY);
}

static void a_full_ring_offers_nothing(void **state)
{
    (void)state;
    char memory[CAPACITY], data[CAPACITY];
    fill_pattern(data, CAPACITY, 3);
    for (uint32_t start = 0; start < CAPACITY; start++) {
        hs_ring_t ring = ring_at(memory, start);
        struct iovec iov[2];
        assert_int_equal(receive(&ring, data, CAPACITY), CAPACITY);
        assert_int_equal(hs_ring_free(&ring), 0);
        assert_int_equal(hs_ring_write_vec(&ring, iov), 0);
        hs_ring_release(&ring, ring.tail + 1);
        assert_int_equal(hs_ring_write_vec(&ring, iov), 1);
        assert_int_equal(iov[0].iov_len, 1);
        assert_ptr_equal(iov[0].iov_base, memory + start);
    }
}

/* The free space is the complement of the used space, in order, and never overlaps it. */
static void write_vec_covers_exactly_the_free_space(void **state)
{
    (void)state;
    char memory[CAPACITY];
    for (uint32_t start = 0; start < CAPACITY; start++) {
        for (uint32_t used = 0; used <= CAPACITY; used++) {
            hs_ring_t ring = ring_at(memory, start);
            hs_ring_commit(&ring, used);
            struct iovec iov[2];
            int count = hs_ring_write_vec(&ring, iov);
            uint32_t at = (start + used) % CAPACITY;
            uint32_t space = CAPACITY - used;
            int expected = space == 0 ? 0 : at + space > CAPACITY ? 2 : 1;
            assert_int_equal(count, expected);
            if (count == 0)
                continue;
            uint32_t first = expected == 2 ? CAPACITY - at : space;
            assert_ptr_equal(iov[0].iov_base, memory + at);
            assert_int_equal(iov[0].iov_len, first);
            if (count == 1)
                continue;
            assert_ptr_equal(iov[1].iov_base, memory);
            assert_int_equal(iov[1].iov_len, space - first);
        }
    }
}

static void bytes_come_out_as_they_went_in(hs_ring_t *ring, uint32_t len)
{
    char data[CAPACITY], copy[CAPACITY];
    fill_pattern(data, len, ring->head);
    uint32_t position = ring->head;
    assert_int_equal(receive(ring, data, len), len);
    memset(copy, 0, sizeof(copy));
    hs_ring_copy(ring, position, copy, len);
    assert_memory_equal(copy, data, len);
    for (uint32_t i = 0; i < len; i++)
        assert_int_equal(*hs_ring_at(ring, position + i), data[i]);
    uint32_t piece = hs_ring_readable(ring, position);
    assert_true(piece == len || piece == hs_ring_room(ring, position));
    assert_int_equal(hs_ring_readable(ring, position + piece), len - piece);
    hs_ring_release(ring, position + len);
    assert_int_equal(hs_ring_used(ring), 0);
}

static void copies_at_every_offset_and_length(void **state)
{
    (void)state;
    char memory[CAPACITY];
    for (uint32_t start = 0; start < CAPACITY; start++) {
        for (uint32_t len = 0; len <= CAPACITY; len++) {
            hs_ring_t ring = ring_at(memory, start);
            bytes_come_out_as_they_went_in(&ring, len);
        }
    }
}

/* A copy may start and end anywhere between tail and head. */
static void copies_a_part_from_any_position(void **state)
{
    (void)state;
    char memory[CAPACITY], data[CAPACITY], copy[CAPACITY];
    fill_pattern(data, CAPACITY, 5);
    for (uint32_t start = 0; start < CAPACITY; start++) {
        hs_ring_t ring = ring_at(memory, start);
        assert_int_equal(receive(&ring, data, CAPACITY), CAPACITY);
        for (uint32_t from = 0; from < CAPACITY; from += 3) {
            uint32_t len = (CAPACITY - from) / 2;
            hs_ring_copy(&ring, start + from, copy, len);
            assert_memory_equal(copy, data + from, len);
        }
    }
}

static void positions_wrap_around_at_two_to_the_32(void **state)
{
    (void)state;
    char memory[CAPACITY];
    for (uint32_t before = 0; before <= 2 * CAPACITY; before++) {
        for (uint32_t len = 0; len <= CAPACITY; len++) {
            hs_ring_t ring = ring_at(memory, UINT32_MAX - before + 1);
            bytes_come_out_as_they_went_in(&ring, len);
        }
    }
}

/* A long stream in pieces of changing size, over the wrap-around of positions. */
static void a_stream_keeps_its_order(void **state)
{
    (void)state;
    char memory[CAPACITY];
    hs_ring_t ring = ring_at(memory, UINT32_MAX - 5000);
    uint32_t written = 0, read = 0, round = 0;
    while (read < 20000) {
        char piece[CAPACITY];
        uint32_t len = ++round * 13 % (CAPACITY + 1);
        for (uint32_t i = 0; i < len; i++)
            piece[i] = (char)((written + i) % 251);
        written += receive(&ring, piece, len);
        uint32_t take = (uint32_t)hs_min(round * 29 % CAPACITY, hs_ring_used(&ring));
        for (uint32_t i = 0; i < take; i++)
            assert_int_equal(*hs_ring_at(&ring, ring.tail + i), (char)((read + i) % 251));
        hs_ring_release(&ring, ring.tail + take);
        read += take;
        assert_int_equal(hs_ring_used(&ring), written - read);
    }
}

static void rewinding_starts_at_the_first_byte(void **state)
{
    (void)state;
    char memory[CAPACITY];
    hs_ring_t ring = ring_at(memory, 61);
    assert_int_equal(receive(&ring, "abcdef", 6), 6);
    hs_ring_release(&ring, ring.tail + 6);
    hs_ring_rewind(&ring);
    assert_int_equal(receive(&ring, "ghi", 3), 3);
    assert_memory_equal(memory, "ghi", 3);
    assert_int_equal(hs_ring_readable(&ring, 0), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_ring_is_empty_and_takes_its_capacity),
        cmocka_unit_test(a_full_ring_offers_nothing),
        cmocka_unit_test(write_vec_covers_exactly_the_free_space),
        cmocka_unit_test(copies_at_every_offset_and_length),
        cmocka_unit_test(copies_a_part_from_any_position),
        cmocka_unit_test(positions_wrap_around_at_two_to_the_32),
        cmocka_unit_test(a_stream_keeps_its_order),
        cmocka_unit_test(rewinding_starts_at_the_first_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
