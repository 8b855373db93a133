#include <string.h>

#include "base/hs_alloc.h"
#include "shared/hs_shared.h"

hs_shared_cursor_t hs_shared_entry_cursor(const hs_shared_t *shared, hs_shared_shard_t *shard,
                                          hs_shared_entry_t *entry)
{
    return (hs_shared_cursor_t){ shared, shard, entry->words, HS_SHARED_ENTRY_WORDS,
                                 HS_SHARED_LOAD(entry->more) };
}

hs_shared_cursor_t hs_shared_item_cursor(const hs_shared_t *shared, hs_shared_shard_t *shard,
                                         hs_shared_item_t *item)
{
    return (hs_shared_cursor_t){ shared, shard, item->words, HS_SHARED_ITEM_WORDS,
                                 HS_SHARED_LOAD(item->more) };
}

/* Goes on to the next data block. */
static bool advance(hs_shared_cursor_t *cursor)
{
    if (!hs_shared_is_block(cursor->shared, cursor->next))
        return false;
    hs_shared_data_t *data = hs_shared_block(cursor->shared, cursor->shard, cursor->next);
    cursor->words = data->words;
    cursor->left = HS_SHARED_DATA_WORDS;
    cursor->next = HS_SHARED_LOAD(data->next);
    return true;
}

bool hs_shared_copy_out(hs_shared_cursor_t *cursor, char *data, size_t len)
{
    while (len > 0) {
        if (cursor->left == 0 && !advance(cursor))
            return false;
        for (; cursor->left > 0 && len >= 8; cursor->left--, len -= 8, data += 8) {
            uint64_t word = HS_SHARED_LOAD(*cursor->words++);
            memcpy(data, &word, 8);
        }
        if (cursor->left > 0 && len > 0) {
            uint64_t word = HS_SHARED_LOAD(*cursor->words++);
            memcpy(data, &word, len);
            cursor->left--;
            len = 0;
        }
    }
    return true;
}

/* Up to 8 bytes as they lie in a word. */
static inline uint64_t word_of(const char *data, size_t len)
{
    uint64_t word = 0;
    memcpy(&word, data, hs_min(len, 8));
    return word;
}

bool hs_shared_equals(hs_shared_cursor_t *cursor, const char *data, size_t len)
{
    while (len > 0) {
        if (cursor->left == 0 && !advance(cursor))
            return false;
        size_t piece = hs_min(len, 8);
        if (HS_SHARED_LOAD(*cursor->words++) != word_of(data, piece))
            return false;
        cursor->left--;
        data += piece;
        len -= piece;
    }
    return true;
}

bool hs_shared_skip(hs_shared_cursor_t *cursor, size_t words)
{
    while (words > cursor->left) {
        words -= cursor->left;
        if (!advance(cursor))
            return false;
    }
    cursor->words += words;
    cursor->left -= (uint32_t)words;
    return true;
}

void hs_shared_copy_in(hs_shared_cursor_t *cursor, const char *data, size_t len)
{
    while (len > 0) {
        if (cursor->left == 0 && !advance(cursor))
            return;
        size_t piece = hs_min(len, 8);
        HS_SHARED_STORE(*cursor->words, word_of(data, piece));
        cursor->words++;
        cursor->left--;
        data += piece;
        len -= piece;
    }
}

bool hs_shared_reserve(hs_shared_value_t *value, size_t size)
{
    if (size <= value->capacity)
        return true;
    size_t capacity = value->capacity < 64 ? 64 : value->capacity;
    while (capacity < size)
        capacity *= 2;
    char *buffer = hs_realloc(value->buffer, capacity);
    if (buffer == NULL)
        return false;
    value->buffer = buffer;
    value->capacity = capacity;
    return true;
}

hs_shared_result_t hs_shared_take_string(hs_shared_cursor_t *cursor, size_t len,
                                         hs_shared_value_t *value)
{
    if (len > (size_t)cursor->shared->blocks * HS_SHARED_BLOCK)
        return HS_SHARED_NOT_FOUND;
    if (!hs_shared_reserve(value, len))
        return HS_SHARED_NO_MEMORY;
    if (!hs_shared_copy_out(cursor, value->buffer, len))
        return HS_SHARED_NOT_FOUND;
    value->data = value->buffer;
    value->length = len;
    return HS_SHARED_OK;
}

void hs_shared_value_free(hs_shared_value_t *value)
{
    hs_free(value->buffer);
    *value = (hs_shared_value_t){ .type = HS_SHARED_NIL };
}
