/*
 * Checks the consistency of a dictionary's memory: every block belongs to one entry or is free, and
 * the counters are right. For memory that no thread uses at the time.
 */
#pragma once

#include <stdio.h>
#include <string.h>

#include "shared/hs_shared.h"

typedef struct shared_check {
    hs_shared_t *shared;
    hs_shared_shard_t *shard;
    unsigned char *owned; /* per block */
    uint32_t count;
    const char *problem; /* NULL: none */
} shared_check_t;

static void check_chain(shared_check_t *check, uint32_t first, size_t *blocks)
{
    for (uint32_t number = first; number != HS_SHARED_NONE; (*blocks)++) {
        if (!hs_shared_is_block(check->shared, number)) {
            check->problem = "a link leads nowhere";
            return;
        }
        if (check->owned[number - 1]++) {
            check->problem = "a block belongs to two";
            return;
        }
        check->count++;
        hs_shared_data_t *data = hs_shared_block(check->shared, check->shard, number);
        number = HS_SHARED_LOAD(data->next);
    }
}

static size_t blocks_beyond(size_t words, size_t own)
{
    return words <= own ? 0 : (words - own + HS_SHARED_DATA_WORDS - 1) / HS_SHARED_DATA_WORDS;
}

static void check_list(shared_check_t *check, hs_shared_entry_t *entry)
{
    uint32_t previous = HS_SHARED_NONE;
    uint32_t items = 0;
    uint32_t before = check->count;
    uint32_t number = (uint32_t)HS_SHARED_LOAD(entry->value.high);
    while (number != HS_SHARED_NONE && check->problem == NULL) {
        size_t data = 0;
        if (!hs_shared_is_block(check->shared, number) || check->owned[number - 1]++) {
            check->problem = "an item is no item";
            return;
        }
        check->count++;
        hs_shared_item_t *item = hs_shared_block(check->shared, check->shard, number);
        if (HS_SHARED_LOAD(item->previous) != previous)
            check->problem = "a link back is wrong";
        check_chain(check, HS_SHARED_LOAD(item->more), &data);
        items++;
        previous = number;
        number = HS_SHARED_LOAD(item->next);
    }
    uint64_t low = HS_SHARED_LOAD(entry->value.low);
    if (check->problem == NULL && (HS_SHARED_LOAD(entry->flags) != previous ||
                                   (uint32_t)low != items || low >> 32 != check->count - before))
        check->problem = "a list is counted wrong";
}

static void check_entry(shared_check_t *check, uint32_t number)
{
    hs_shared_entry_t *entry = hs_shared_entry(check->shared, check->shard, number);
    size_t data = 0;
    size_t words = hs_shared_words(HS_SHARED_LOAD(entry->key_len));
    if (HS_SHARED_LOAD(entry->type) == HS_SHARED_STRING)
        words += hs_shared_words(HS_SHARED_LOAD(entry->value.low));
    check_chain(check, HS_SHARED_LOAD(entry->more), &data);
    if (check->problem == NULL && data != blocks_beyond(words, HS_SHARED_ENTRY_WORDS))
        check->problem = "a value has blocks of another length";
    if (check->problem == NULL && HS_SHARED_LOAD(entry->type) == HS_SHARED_LIST)
        check_list(check, entry);
}

static void check_shard(shared_check_t *check)
{
    uint32_t entries = 0;
    memset(check->owned, 0, check->shared->blocks);
    check->count = 0;
    for (uint32_t i = 0; i < check->shared->buckets && check->problem == NULL; i++) {
        uint32_t number = (uint32_t)HS_SHARED_LOAD(*hs_shared_bucket(check->shard, i));
        while (number != HS_SHARED_NONE && check->problem == NULL) {
            if (!hs_shared_is_block(check->shared, number) || check->owned[number - 1]++) {
                check->problem = "an entry is no entry";
                return;
            }
            check->count++;
            entries++;
            check_entry(check, number);
            number = HS_SHARED_LOAD(hs_shared_entry(check->shared, check->shard, number)->chain);
        }
    }
    uint32_t used = check->count;
    size_t freed = 0;
    if (check->problem == NULL)
        check_chain(check, HS_SHARED_LOAD(check->shard->free_first), &freed);
    uint32_t fresh = HS_SHARED_LOAD(check->shard->fresh);
    if (check->problem != NULL)
        return;
    if (used + freed != fresh)
        check->problem = "blocks are lost";
    else if (HS_SHARED_LOAD(check->shard->free_count) != freed + check->shared->blocks - fresh)
        check->problem = "free blocks are counted wrong";
    else if (HS_SHARED_LOAD(check->shard->entries) != entries)
        check->problem = "entries are counted wrong";
}

/* NULL: consistent. Takes each lock once, so that damage left by a killed process is repaired. */
static inline const char *shared_problem(hs_shared_t *shared)
{
    shared_check_t check = { .shared = shared, .owned = malloc(shared->blocks) };
    for (uint32_t i = 0; i < HS_SHARED_SHARDS && check.problem == NULL; i++) {
        check.shard = hs_shared_shard(shared, i);
        hs_shared_lock(shared, check.shard);
        check_shard(&check);
        hs_shared_unlock(check.shard);
    }
    free(check.owned);
    return check.problem;
}
