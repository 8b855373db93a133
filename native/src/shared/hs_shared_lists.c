/*
 * Lists: items between an entry and its last one. Read and written under the lock only. The forward
 * links are authoritative: one store adds or removes an item, and everything else about a list is
 * derived from them (hs_shared_space.c).
 */
#include <string.h>

#include "shared/hs_shared.h"

static hs_shared_item_t *item_at(const hs_shared_t *shared, hs_shared_shard_t *shard,
                                 uint32_t number)
{
    return hs_shared_is_block(shared, number) ? hs_shared_block(shared, shard, number) : NULL;
}

static uint32_t count_of(hs_shared_entry_t *entry)
{
    return (uint32_t)HS_SHARED_LOAD(entry->value.low);
}

static uint32_t blocks_of(hs_shared_entry_t *entry)
{
    return (uint32_t)(HS_SHARED_LOAD(entry->value.low) >> 32);
}

static uint32_t blocks_for(const hs_shared_value_t *value)
{
    if (value->type != HS_SHARED_STRING)
        return 1;
    if (value->length > UINT32_MAX)
        return UINT32_MAX;
    size_t words = hs_shared_words(value->length);
    if (words <= HS_SHARED_ITEM_WORDS)
        return 1;
    return 1 + (uint32_t)((words - HS_SHARED_ITEM_WORDS + HS_SHARED_DATA_WORDS - 1) /
                          HS_SHARED_DATA_WORDS);
}

static void fill_item(const hs_shared_t *shared, hs_shared_shard_t *shard, uint32_t number,
                      const hs_shared_value_t *value)
{
    hs_shared_data_t *as_data = hs_shared_block(shared, shard, number);
    uint32_t more = HS_SHARED_LOAD(as_data->next);
    hs_shared_item_t *item = hs_shared_block(shared, shard, number);
    uint64_t bits = value->length;
    if (value->type != HS_SHARED_STRING)
        memcpy(&bits, &value->number, sizeof(bits));
    HS_SHARED_STORE(item->next, HS_SHARED_NONE);
    HS_SHARED_STORE(item->previous, HS_SHARED_NONE);
    HS_SHARED_STORE(item->value, bits);
    HS_SHARED_STORE(item->more, more);
    HS_SHARED_STORE(item->type, (uint32_t)value->type);
    if (value->type == HS_SHARED_STRING) {
        hs_shared_cursor_t cursor = hs_shared_item_cursor(shared, shard, item);
        hs_shared_copy_in(&cursor, value->data, value->length);
    }
}

static void link_item(const hs_shared_t *shared, hs_shared_shard_t *shard, hs_shared_entry_t *entry,
                      bool at_head, uint32_t number)
{
    hs_shared_item_t *item = hs_shared_block(shared, shard, number);
    uint32_t first = (uint32_t)HS_SHARED_LOAD(entry->value.high);
    uint32_t last = HS_SHARED_LOAD(entry->flags);
    hs_shared_item_t *neighbour = item_at(shared, shard, at_head ? first : last);
    if (at_head || neighbour == NULL) {
        HS_SHARED_STORE(item->next, first);
        HS_SHARED_STORE(entry->value.high, number);
        if (neighbour != NULL)
            HS_SHARED_STORE(neighbour->previous, number);
        else
            HS_SHARED_STORE(entry->flags, number);
    } else {
        HS_SHARED_STORE(item->previous, last);
        HS_SHARED_STORE(neighbour->next, number);
        HS_SHARED_STORE(entry->flags, number);
    }
}

/* Finds the list. NOT_FOUND, also for what has expired; NOT_A_LIST. */
static hs_shared_result_t find_list(const hs_shared_t *shared, const hs_shared_place_t *place,
                                    hs_shared_found_t *found)
{
    uint64_t word = HS_SHARED_LOAD(*hs_shared_bucket(place->shard, place->bucket));
    *found = hs_shared_search(shared, place, word);
    if (found->entry == HS_SHARED_NONE)
        return HS_SHARED_NOT_FOUND;
    hs_shared_entry_t *entry = hs_shared_entry(shared, place->shard, found->entry);
    if (hs_shared_has_expired(shared, HS_SHARED_LOAD(entry->expires_ms)))
        return HS_SHARED_NOT_FOUND;
    return HS_SHARED_LOAD(entry->type) == HS_SHARED_LIST ? HS_SHARED_OK : HS_SHARED_NOT_A_LIST;
}

static hs_shared_result_t push_to(hs_shared_t *shared, const hs_shared_place_t *place,
                                  uint32_t list, bool at_head, const hs_shared_value_t *value,
                                  size_t *count)
{
    hs_shared_need_t need = { .keep = list };
    hs_shared_entry_t *entry = hs_shared_entry(shared, place->shard, list);
    uint32_t blocks = blocks_for(value);
    uint32_t item;
    if (blocks > shared->value_blocks || blocks_of(entry) > shared->value_blocks - blocks) {
        hs_shared_count(&place->shard->refusals);
        return HS_SHARED_NO_MEMORY;
    }
    if (!hs_shared_take(shared, place->shard, blocks, &need, &item))
        return HS_SHARED_NO_MEMORY;
    hs_shared_intend(place->shard, place->bucket);
    fill_item(shared, place->shard, item, value);
    link_item(shared, place->shard, entry, at_head, item);
    HS_SHARED_STORE(entry->value.low,
                    HS_SHARED_LOAD(entry->value.low) + ((uint64_t)blocks << 32) + 1);
    *count = count_of(entry);
    return HS_SHARED_OK;
}

/* A list of one item, replacing an expired entry. */
static hs_shared_result_t push_new(hs_shared_t *shared, const hs_shared_place_t *place,
                                   const hs_shared_value_t *value, size_t *count)
{
    static const hs_shared_value_t list = { .type = HS_SHARED_LIST };
    hs_shared_need_t need = { .keep = HS_SHARED_NONE };
    hs_shared_found_t found;
    uint32_t blocks = blocks_for(value);
    uint32_t item;
    uint32_t number;
    if (!hs_shared_take(shared, place->shard, blocks, &need, &item))
        return HS_SHARED_NO_MEMORY;
    if (!hs_shared_take(shared, place->shard, hs_shared_blocks_for(place->key_len, &list), &need,
                        &number)) {
        hs_shared_give(shared, place->shard, item);
        return HS_SHARED_NO_MEMORY;
    }
    (void)find_list(shared, place, &found);
    fill_item(shared, place->shard, item, value);
    hs_shared_fill(shared, place->shard, number, place->key, place->key_len, &list, 0);
    hs_shared_entry_t *entry = hs_shared_entry(shared, place->shard, number);
    HS_SHARED_STORE(entry->value.low, (uint64_t)blocks << 32 | 1);
    HS_SHARED_STORE(entry->value.high, item);
    HS_SHARED_STORE(entry->flags, item);
    hs_shared_publish(shared, place, found, number);
    *count = 1;
    return HS_SHARED_OK;
}

hs_shared_result_t hs_shared_push(hs_shared_t *shared, const char *key, size_t key_len,
                                  bool at_head, const hs_shared_value_t *value, size_t *count)
{
    hs_shared_found_t found;
    if (key_len < 1 || key_len > HS_SHARED_KEY_MAX)
        return HS_SHARED_BAD_KEY;
    if (value->type != HS_SHARED_STRING && value->type != HS_SHARED_NUMBER)
        return HS_SHARED_BAD_VALUE;
    const hs_shared_place_t at = hs_shared_place(shared, key, key_len);
    const hs_shared_place_t *place = &at;
    hs_shared_lock(shared, place->shard);
    hs_shared_intend(place->shard, place->bucket);
    hs_shared_result_t result = find_list(shared, place, &found);
    if (result == HS_SHARED_OK)
        result = push_to(shared, place, found.entry, at_head, value, count);
    else if (result == HS_SHARED_NOT_FOUND)
        result = push_new(shared, place, value, count);
    hs_shared_unlock(place->shard);
    return result;
}

/* NOT_FOUND: damaged. */
static hs_shared_result_t read_item(const hs_shared_t *shared, hs_shared_shard_t *shard,
                                    hs_shared_item_t *item, hs_shared_value_t *value)
{
    uint64_t bits = HS_SHARED_LOAD(item->value);
    value->flags = 0;
    value->is_stale = false;
    value->type = (hs_shared_type_t)HS_SHARED_LOAD(item->type);
    if (value->type != HS_SHARED_STRING) {
        value->type = HS_SHARED_NUMBER;
        memcpy(&value->number, &bits, sizeof(bits));
        return HS_SHARED_OK;
    }
    hs_shared_cursor_t cursor = hs_shared_item_cursor(shared, shard, item);
    return hs_shared_take_string(&cursor, bits, value);
}

static void unlink_item(const hs_shared_t *shared, const hs_shared_place_t *place,
                        hs_shared_found_t found, bool at_head, uint32_t number)
{
    hs_shared_shard_t *shard = place->shard;
    hs_shared_entry_t *entry = hs_shared_entry(shared, shard, found.entry);
    hs_shared_item_t *item = hs_shared_block(shared, shard, number);
    uint32_t other = at_head ? HS_SHARED_LOAD(item->next) : HS_SHARED_LOAD(item->previous);
    hs_shared_item_t *neighbour = item_at(shared, shard, other);
    if (neighbour == NULL) {
        hs_shared_remove(shared, shard, place->bucket, found);
        return;
    }
    if (at_head) {
        HS_SHARED_STORE(entry->value.high, other);
        HS_SHARED_STORE(neighbour->previous, HS_SHARED_NONE);
    } else {
        HS_SHARED_STORE(neighbour->next, HS_SHARED_NONE);
        HS_SHARED_STORE(entry->flags, other);
    }
    uint32_t free_before = HS_SHARED_LOAD(shard->free_count);
    HS_SHARED_STORE(item->next, HS_SHARED_LOAD(item->more));
    hs_shared_give(shared, shard, number);
    uint32_t blocks = HS_SHARED_LOAD(shard->free_count) - free_before;
    HS_SHARED_STORE(entry->value.low,
                    HS_SHARED_LOAD(entry->value.low) - ((uint64_t)blocks << 32) - 1);
}

static hs_shared_result_t pop_from(const hs_shared_t *shared, const hs_shared_place_t *place,
                                   hs_shared_found_t found, bool at_head, hs_shared_value_t *value)
{
    hs_shared_entry_t *entry = hs_shared_entry(shared, place->shard, found.entry);
    uint32_t number =
        at_head ? (uint32_t)HS_SHARED_LOAD(entry->value.high) : HS_SHARED_LOAD(entry->flags);
    hs_shared_item_t *item = item_at(shared, place->shard, number);
    if (item == NULL) {
        hs_shared_remove(shared, place->shard, place->bucket, found);
        return HS_SHARED_NOT_FOUND;
    }
    hs_shared_result_t result = read_item(shared, place->shard, item, value);
    if (result != HS_SHARED_NO_MEMORY)
        unlink_item(shared, place, found, at_head, number);
    return result;
}

hs_shared_result_t hs_shared_pop(hs_shared_t *shared, const char *key, size_t key_len, bool at_head,
                                 hs_shared_value_t *value)
{
    hs_shared_found_t found;
    value->type = HS_SHARED_NIL;
    if (key_len < 1 || key_len > HS_SHARED_KEY_MAX)
        return HS_SHARED_BAD_KEY;
    const hs_shared_place_t at = hs_shared_place(shared, key, key_len);
    const hs_shared_place_t *place = &at;
    hs_shared_lock(shared, place->shard);
    hs_shared_result_t result = find_list(shared, place, &found);
    if (result == HS_SHARED_OK) {
        hs_shared_intend(place->shard, place->bucket);
        result = pop_from(shared, place, found, at_head, value);
    }
    hs_shared_unlock(place->shard);
    if (result != HS_SHARED_OK)
        value->type = HS_SHARED_NIL;
    return result;
}

hs_shared_result_t hs_shared_length(hs_shared_t *shared, const char *key, size_t key_len,
                                    size_t *count)
{
    hs_shared_found_t found;
    *count = 0;
    if (key_len < 1 || key_len > HS_SHARED_KEY_MAX)
        return HS_SHARED_BAD_KEY;
    const hs_shared_place_t at = hs_shared_place(shared, key, key_len);
    const hs_shared_place_t *place = &at;
    hs_shared_lock(shared, place->shard);
    hs_shared_result_t result = find_list(shared, place, &found);
    if (result == HS_SHARED_OK)
        *count = count_of(hs_shared_entry(shared, place->shard, found.entry));
    hs_shared_unlock(place->shard);
    return result;
}
