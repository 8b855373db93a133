/*
 * Blocks of a shard: allocating, freeing, evicting entries when they run short, and rebuilding
 * after a process was killed. Everything here runs under the lock.
 */
#include <string.h>

#include "shared/hs_shared.h"

/* Entries examined per block before a recently read one is removed. */
#define LOOKS_MAX 256
#define REPAIR_PASSES 4

static hs_shared_data_t *data_at(const hs_shared_t *shared, hs_shared_shard_t *shard,
                                 uint32_t number)
{
    return hs_shared_block(shared, shard, number);
}

void hs_shared_raise(hs_shared_shard_t *shard, uint32_t bucket)
{
    hs_shared_bucket_t *word = hs_shared_bucket(shard, bucket);
    HS_SHARED_STORE(*word, HS_SHARED_LOAD(*word) + ((uint64_t)1 << 32));
}

void hs_shared_link(const hs_shared_t *shared, hs_shared_shard_t *shard, uint32_t bucket,
                    uint32_t previous, uint32_t number, hs_shared_entry_t *old)
{
    if (old != NULL && HS_SHARED_LOAD(old->type) == HS_SHARED_NUMBER)
        (void)hs_shared_freeze(old);
    if (previous != HS_SHARED_NONE) {
        HS_SHARED_STORE(hs_shared_entry(shared, shard, previous)->chain, number);
        hs_shared_raise(shard, bucket);
    } else {
        hs_shared_bucket_t *word = hs_shared_bucket(shard, bucket);
        HS_SHARED_STORE(*word, ((HS_SHARED_LOAD(*word) >> 32) + 1) << 32 | number);
    }
}

uint64_t hs_shared_new_stamp(hs_shared_shard_t *shard)
{
    /* The highest bit: never 0, and no list's first item. */
    uint64_t stamp = (HS_SHARED_LOAD(shard->stamp) + 1) | (uint64_t)1 << 63;
    HS_SHARED_STORE(shard->stamp, stamp);
    return stamp;
}

void hs_shared_thaw(hs_shared_shard_t *shard, hs_shared_entry_t *entry)
{
    uint64_t high = hs_shared_new_stamp(shard);
    int32_t small;
    if (hs_shared_fits(hs_shared_number_of(HS_SHARED_LOAD(entry->value.low)), &small))
        high = HS_SHARED_SMALL | (high & (((uint64_t)1 << 30) - 1)) << 32 | (uint32_t)small;
    HS_SHARED_STORE(entry->value.high, high);
}

void hs_shared_give(const hs_shared_t *shared, hs_shared_shard_t *shard, uint32_t first)
{
    if (!hs_shared_is_block(shared, first))
        return;
    uint32_t count = 1;
    hs_shared_data_t *last = data_at(shared, shard, first);
    for (; count <= shared->blocks; count++) {
        uint32_t next = HS_SHARED_LOAD(last->next);
        if (!hs_shared_is_block(shared, next))
            break;
        last = data_at(shared, shard, next);
    }
    HS_SHARED_STORE(last->next, HS_SHARED_LOAD(shard->free_first));
    HS_SHARED_STORE(shard->free_first, first);
    HS_SHARED_STORE(shard->free_count, HS_SHARED_LOAD(shard->free_count) + count);
}

static void give_one(const hs_shared_t *shared, hs_shared_shard_t *shard, uint32_t number)
{
    HS_SHARED_STORE(data_at(shared, shard, number)->next, HS_SHARED_NONE);
    hs_shared_give(shared, shard, number);
}

static void free_items(const hs_shared_t *shared, hs_shared_shard_t *shard, uint32_t number)
{
    for (uint32_t i = 0; i < shared->blocks && hs_shared_is_block(shared, number); i++) {
        hs_shared_item_t *item = hs_shared_block(shared, shard, number);
        uint32_t next = HS_SHARED_LOAD(item->next);
        hs_shared_give(shared, shard, HS_SHARED_LOAD(item->more));
        give_one(shared, shard, number);
        number = next;
    }
}

void hs_shared_free_entry(const hs_shared_t *shared, hs_shared_shard_t *shard, uint32_t number)
{
    hs_shared_entry_t *entry = hs_shared_entry(shared, shard, number);
    if (HS_SHARED_LOAD(entry->type) == HS_SHARED_LIST)
        free_items(shared, shard, (uint32_t)HS_SHARED_LOAD(entry->value.high));
    uint32_t more = HS_SHARED_LOAD(entry->more);
    (void)hs_shared_freeze(entry);
    /* The entry and its data as one chain, so that they are allocated in the same order. */
    HS_SHARED_STORE(data_at(shared, shard, number)->next, more);
    hs_shared_give(shared, shard, number);
    HS_SHARED_STORE(shard->entries, HS_SHARED_LOAD(shard->entries) - 1);
}

void hs_shared_remove(const hs_shared_t *shared, hs_shared_shard_t *shard, uint32_t bucket,
                      hs_shared_found_t found)
{
    hs_shared_entry_t *entry = hs_shared_entry(shared, shard, found.entry);
    hs_shared_intend(shard, bucket);
    hs_shared_link(shared, shard, bucket, found.previous, HS_SHARED_LOAD(entry->chain), entry);
    hs_shared_free_entry(shared, shard, found.entry);
}

static void repair_shard(const hs_shared_t *shared, hs_shared_shard_t *shard);

/* ---- Victims. ---- */

/* Examines the entries of the bucket under the clock hand, and advances the hand. */
static void sweep(hs_shared_t *shared, hs_shared_shard_t *shard, hs_shared_need_t *need,
                  uint32_t *looks, bool only_expired)
{
    uint32_t bucket = HS_SHARED_LOAD(shard->hand) % shared->buckets;
    hs_shared_found_t at = { (uint32_t)HS_SHARED_LOAD(*hs_shared_bucket(shard, bucket)),
                             HS_SHARED_NONE };
    /* No chain is longer than all blocks, unless it is damaged. */
    for (uint32_t i = 0; i < shared->blocks && hs_shared_is_block(shared, at.entry); i++) {
        hs_shared_entry_t *entry = hs_shared_entry(shared, shard, at.entry);
        _Atomic uint8_t *clock = hs_shared_clock(shared, shard, at.entry);
        uint32_t next = HS_SHARED_LOAD(entry->chain);
        uint8_t turns = atomic_load_explicit(clock, memory_order_relaxed);
        bool has_expired = hs_shared_has_expired(shared, HS_SHARED_LOAD(entry->expires_ms));
        bool is_victim = has_expired || (!only_expired && (turns == 0 || *looks >= LOOKS_MAX));
        (*looks)++;
        if (at.entry == need->keep)
            is_victim = false;
        if (is_victim) {
            hs_shared_remove(shared, shard, bucket, at);
            hs_shared_count(has_expired ? &shard->expirations : &shard->evictions);
            need->was_forced |= !has_expired;
            need->has_removed = true;
            *looks = 0;
        } else {
            if (!only_expired && turns > 0)
                atomic_store_explicit(clock, (uint8_t)(turns - 1), memory_order_relaxed);
            at.previous = at.entry;
        }
        at.entry = next;
    }
    HS_SHARED_STORE(shard->hand, bucket + 1 == shared->buckets ? 0 : bucket + 1);
}

static bool make_room(hs_shared_t *shared, hs_shared_shard_t *shard, uint32_t count,
                      hs_shared_need_t *need)
{
    uint32_t looks = 0;
    uint32_t turns = need->only_expired ? 1 : HS_SHARED_CLOCK_READ + 2;
    for (uint64_t i = 0; i < (uint64_t)turns * shared->buckets; i++) {
        if (HS_SHARED_LOAD(shard->free_count) >= count)
            return true;
        sweep(shared, shard, need, &looks, need->only_expired);
    }
    return HS_SHARED_LOAD(shard->free_count) >= count;
}

bool hs_shared_take(hs_shared_t *shared, hs_shared_shard_t *shard, uint32_t count,
                    hs_shared_need_t *need, uint32_t *first)
{
    *first = HS_SHARED_NONE;
    if (count > shared->value_blocks ||
        (HS_SHARED_LOAD(shard->free_count) < count && !make_room(shared, shard, count, need))) {
        hs_shared_count(&shard->refusals);
        return false;
    }
    uint32_t freed = HS_SHARED_LOAD(shard->free_first);
    uint32_t fresh = HS_SHARED_LOAD(shard->fresh);
    hs_shared_half_t *link = NULL;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t number = freed;
        if (hs_shared_is_block(shared, freed)) {
            freed = HS_SHARED_LOAD(data_at(shared, shard, freed)->next);
        } else if (fresh < shared->blocks) {
            number = ++fresh;
            freed = HS_SHARED_NONE;
        } else {
            /* Fewer than were counted: the memory was damaged. */
            repair_shard(shared, shard);
            hs_shared_count(&shard->refusals);
            return false;
        }
        if (link == NULL)
            *first = number;
        else
            HS_SHARED_STORE(*link, number);
        link = &data_at(shared, shard, number)->next;
    }
    if (link != NULL)
        HS_SHARED_STORE(*link, HS_SHARED_NONE);
    HS_SHARED_STORE(shard->free_first, freed);
    HS_SHARED_STORE(shard->fresh, fresh);
    HS_SHARED_STORE(shard->free_count, HS_SHARED_LOAD(shard->free_count) - count);
    return true;
}

/* ---- Repair. ---- */

typedef struct repair {
    const hs_shared_t *shared;
    hs_shared_shard_t *shard;
    uint64_t *marks; /* a bit per block that is reachable */
    uint32_t marked;
    uint32_t entries;
    bool has_cut; /* something marked is no longer reachable */
} repair_t;

static bool is_marked(const repair_t *repair, uint32_t number)
{
    return (repair->marks[(number - 1) / 64] >> (number - 1) % 64 & 1) != 0;
}

/* False: invalid block, or it already belongs to something. */
static bool mark(repair_t *repair, uint32_t number)
{
    if (!hs_shared_is_block(repair->shared, number))
        return false;
    uint64_t *word = &repair->marks[(number - 1) / 64];
    uint64_t bit = (uint64_t)1 << (number - 1) % 64;
    if (*word & bit)
        return false;
    *word |= bit;
    repair->marked++;
    return true;
}

/* Marks the data blocks of something with `words` words, of which `own` are in its own block. */
static bool mark_data(repair_t *repair, uint32_t first, size_t words, size_t own)
{
    uint32_t number = first;
    while (words > own) {
        if (!mark(repair, number))
            return false;
        own += HS_SHARED_DATA_WORDS;
        number = HS_SHARED_LOAD(data_at(repair->shared, repair->shard, number)->next);
    }
    return number == HS_SHARED_NONE;
}

static size_t string_words(const hs_shared_t *shared, uint64_t len)
{
    return len > (uint64_t)shared->blocks * HS_SHARED_BLOCK ? SIZE_MAX : hs_shared_words(len);
}

/* Follows a list from its first item; cuts it off at the first bad one. */
static void repair_list(repair_t *repair, hs_shared_entry_t *entry)
{
    uint32_t previous = HS_SHARED_NONE;
    uint32_t number = (uint32_t)HS_SHARED_LOAD(entry->value.high);
    uint32_t before = repair->marked;
    uint32_t count = 0;
    while (mark(repair, number)) {
        hs_shared_item_t *item = hs_shared_block(repair->shared, repair->shard, number);
        size_t words = HS_SHARED_LOAD(item->type) == HS_SHARED_STRING
                           ? string_words(repair->shared, HS_SHARED_LOAD(item->value))
                           : 0;
        if (words == SIZE_MAX ||
            !mark_data(repair, HS_SHARED_LOAD(item->more), words, HS_SHARED_ITEM_WORDS)) {
            repair->has_cut = true;
            break;
        }
        HS_SHARED_STORE(item->previous, previous);
        previous = number;
        count++;
        number = HS_SHARED_LOAD(item->next);
    }
    if (previous == HS_SHARED_NONE)
        HS_SHARED_STORE(entry->value.high, HS_SHARED_NONE);
    else
        HS_SHARED_STORE(
            ((hs_shared_item_t *)hs_shared_block(repair->shared, repair->shard, previous))->next,
            HS_SHARED_NONE);
    HS_SHARED_STORE(entry->flags, previous);
    HS_SHARED_STORE(entry->value.low, (uint64_t)(repair->marked - before) << 32 | count);
}

static bool mark_entry(repair_t *repair, hs_shared_entry_t *entry)
{
    uint64_t value = HS_SHARED_LOAD(entry->value.low);
    size_t words = hs_shared_words(HS_SHARED_LOAD(entry->key_len));
    size_t of_value = 0;
    switch ((hs_shared_type_t)HS_SHARED_LOAD(entry->type)) {
    case HS_SHARED_STRING:
        of_value = string_words(repair->shared, value);
        break;
    case HS_SHARED_BOOLEAN:
    case HS_SHARED_NUMBER:
    case HS_SHARED_LIST:
        break;
    case HS_SHARED_NIL:
    default:
        return false;
    }
    if (words == 0 || of_value == SIZE_MAX ||
        !mark_data(repair, HS_SHARED_LOAD(entry->more), words + of_value, HS_SHARED_ENTRY_WORDS))
        return false;
    if (HS_SHARED_LOAD(entry->type) == HS_SHARED_LIST) {
        repair_list(repair, entry);
        return (uint32_t)HS_SHARED_LOAD(entry->value.low) > 0;
    }
    return true;
}

static void repair_bucket(repair_t *repair, uint32_t bucket)
{
    hs_shared_bucket_t *word = hs_shared_bucket(repair->shard, bucket);
    uint32_t previous = HS_SHARED_NONE;
    uint32_t number = (uint32_t)HS_SHARED_LOAD(*word);
    while (number != HS_SHARED_NONE) {
        uint32_t next = HS_SHARED_NONE;
        bool is_fine = mark(repair, number);
        if (is_fine) {
            hs_shared_entry_t *entry = hs_shared_entry(repair->shared, repair->shard, number);
            next = HS_SHARED_LOAD(entry->chain);
            is_fine = mark_entry(repair, entry);
        }
        if (is_fine) {
            repair->entries++;
            previous = number;
        } else {
            repair->has_cut = true;
            if (previous == HS_SHARED_NONE)
                HS_SHARED_STORE(*word, (HS_SHARED_LOAD(*word) >> 32 << 32) | next);
            else
                HS_SHARED_STORE(hs_shared_entry(repair->shared, repair->shard, previous)->chain,
                                next);
            hs_shared_raise(repair->shard, bucket);
        }
        number = next;
    }
}

static void repair_shard(const hs_shared_t *shared, hs_shared_shard_t *shard)
{
    uint32_t bucket = HS_SHARED_LOAD(shard->intent) - 1;
    repair_t repair = { .shared = shared,
                        .shard = shard,
                        .marks = (uint64_t *)(void *)((char *)shard + shared->marks_offset) };
    if (bucket < shared->buckets)
        hs_shared_raise(shard, bucket);
    /* After a killed process there is nothing to cut. In damaged memory the rest is marked first
     * and freed by another pass. */
    for (int pass = 0; pass < REPAIR_PASSES && (pass == 0 || repair.has_cut); pass++) {
        repair.has_cut = false;
        repair.marked = repair.entries = 0;
        memset(repair.marks, 0, ((size_t)shared->blocks + 63) / 64 * 8);
        for (uint32_t i = 0; i < shared->buckets; i++)
            repair_bucket(&repair, i);
    }
    uint32_t fresh = HS_SHARED_LOAD(shard->fresh);
    if (fresh > shared->blocks)
        fresh = shared->blocks;
    for (uint32_t i = shared->blocks; i > fresh; i--)
        if (is_marked(&repair, i))
            fresh = i;
    uint32_t free_first = HS_SHARED_NONE;
    uint32_t free_count = 0;
    for (uint32_t i = fresh; i > 0; i--)
        if (!is_marked(&repair, i)) {
            HS_SHARED_STORE(data_at(shared, shard, i)->next, free_first);
            free_first = i;
            free_count++;
        }
    HS_SHARED_STORE(shard->free_first, free_first);
    HS_SHARED_STORE(shard->free_count, free_count + (shared->blocks - fresh));
    HS_SHARED_STORE(shard->fresh, fresh);
    HS_SHARED_STORE(shard->entries, repair.entries);
    hs_shared_count(&shard->repairs);
}

void hs_shared_lock(hs_shared_t *shared, hs_shared_shard_t *shard)
{
    (void)hs_shlock_take(&shard->lock);
    /* The lock's holder is dead. */
    if (HS_SHARED_LOAD(shard->intent) != 0) {
        repair_shard(shared, shard);
        HS_SHARED_STORE(shard->intent, 0);
    }
}

void hs_shared_unlock(hs_shared_shard_t *shard)
{
    HS_SHARED_STORE(shard->intent, 0);
    hs_shlock_release(&shard->lock);
}
