/*
 * The calls on entries: readers without the lock, writers with it, and the numbers that both
 * change.
 */
#include <string.h>

#include "shared/hs_shared.h"

/* How many disturbed reads a reader tries before it takes the lock, too. */
#define READS_MAX 64

/* ---- Keys. ---- */

__extension__ typedef unsigned __int128 wide_t;

/* The two halves of the product, folded. */
static inline uint64_t fold(uint64_t a, uint64_t b)
{
    wide_t product = (wide_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t load_8(const char *data)
{
    uint64_t word;
    memcpy(&word, data, sizeof(word));
    return word;
}

/* 1 to 8 bytes, as in a word padded with zeros. */
static inline uint64_t load_few(const char *data, size_t len)
{
    if (len == 8)
        return load_8(data);
    if (len >= 4) {
        uint32_t first;
        uint32_t last;
        memcpy(&first, data, sizeof(first));
        memcpy(&last, data + len - 4, sizeof(last));
        return first | (uint64_t)last << (len - 4) * 8;
    }
    return (unsigned char)data[0] | (uint64_t)(unsigned char)data[len / 2] << len / 2 * 8 |
           (uint64_t)(unsigned char)data[len - 1] << (len - 1) * 8;
}

/* The words of a key that fit an entry. */
static inline void load_words(hs_shared_place_t *place)
{
    size_t len = place->key_len;
    const char *key = place->key;
    if (len <= 8) {
        place->words[0] = load_few(key, len);
        place->words[1] = place->words[2] = 0;
        return;
    }
    /* The rest of the last word is read together with earlier bytes. */
    size_t unused = (8 - len % 8) % 8 * 8;
    place->words[0] = load_8(key);
    if (len <= 16) {
        place->words[1] = load_8(key + len - 8) >> unused;
        place->words[2] = 0;
    } else {
        place->words[1] = load_8(key + 8);
        place->words[2] = len <= 24 ? load_8(key + len - 8) >> unused : load_8(key + 16);
    }
}

/* With a secret seed, so that clients cannot choose keys that collide in one bucket. */
static inline uint64_t hash(const hs_shared_t *shared, const hs_shared_place_t *place)
{
    uint64_t sum = fold(place->words[0] ^ shared->seed[0], place->words[1] ^ shared->seed[1]);
    size_t len = place->key_len;
    if (len > 16)
        sum = fold(sum ^ place->words[2], shared->seed[1] | 1);
    const char *rest = place->key + 24;
    for (size_t left = len > 24 ? len - 24 : 0; left > 0;) {
        size_t piece = hs_min(left, 8);
        sum = fold(sum ^ load_few(rest, piece), shared->seed[1] | 1);
        rest += piece;
        left -= piece;
    }
    return fold(sum ^ len, shared->seed[0] | 1);
}

static HS_ALWAYS_INLINE hs_shared_place_t find_place(const hs_shared_t *shared, const char *key,
                                                     size_t key_len)
{
    hs_shared_place_t place;
    place.key = key;
    place.key_len = key_len;
    load_words(&place);
    uint64_t sum = hash(shared, &place);
    place.shard = hs_shared_shard(shared, (uint32_t)(sum >> 58));
    place.bucket = (uint32_t)((sum & UINT32_MAX) * shared->buckets >> 32);
    return place;
}

hs_shared_place_t hs_shared_place(const hs_shared_t *shared, const char *key, size_t key_len)
{
    return find_place(shared, key, key_len);
}

static HS_NOINLINE bool has_long_key(const hs_shared_t *shared, const hs_shared_place_t *place,
                                     hs_shared_entry_t *entry)
{
    hs_shared_cursor_t cursor = hs_shared_entry_cursor(shared, place->shard, entry);
    return hs_shared_equals(&cursor, place->key, place->key_len);
}

static HS_ALWAYS_INLINE bool has_key(const hs_shared_t *shared, const hs_shared_place_t *place,
                                     hs_shared_entry_t *entry)
{
    size_t len = place->key_len;
    if (HS_SHARED_LOAD(entry->key_len) != len || HS_SHARED_LOAD(entry->words[0]) != place->words[0])
        return false;
    if (len <= 8)
        return true;
    if (HS_SHARED_LOAD(entry->words[1]) != place->words[1])
        return false;
    if (len <= 16)
        return true;
    if (HS_SHARED_LOAD(entry->words[2]) != place->words[2])
        return false;
    return len <= 24 || has_long_key(shared, place, entry);
}

static HS_ALWAYS_INLINE hs_shared_found_t search(const hs_shared_t *shared,
                                                 const hs_shared_place_t *place, uint64_t word)
{
    hs_shared_found_t found = { (uint32_t)word, HS_SHARED_NONE };
    for (uint32_t i = 0; i < shared->blocks; i++) {
        if (!hs_shared_is_block(shared, found.entry))
            break;
        hs_shared_entry_t *entry = hs_shared_entry(shared, place->shard, found.entry);
        if (HS_LIKELY(has_key(shared, place, entry)))
            return found;
        found.previous = found.entry;
        found.entry = HS_SHARED_LOAD(entry->chain);
    }
    return (hs_shared_found_t){ HS_SHARED_NONE, HS_SHARED_NONE };
}

hs_shared_found_t hs_shared_search(const hs_shared_t *shared, const hs_shared_place_t *place,
                                   uint64_t word)
{
    return search(shared, place, word);
}

static bool is_key(size_t len)
{
    return len >= 1 && len <= HS_SHARED_KEY_MAX;
}

static bool is_value(const hs_shared_value_t *value)
{
    return value->type == HS_SHARED_STRING || value->type == HS_SHARED_NUMBER ||
           value->type == HS_SHARED_BOOLEAN;
}

static hs_shared_found_t search_locked(const hs_shared_t *shared, const hs_shared_place_t *place)
{
    uint64_t word = HS_SHARED_LOAD(*hs_shared_bucket(place->shard, place->bucket));
    return hs_shared_search(shared, place, word);
}

/* ---- Reading. ---- */

/* An entry as a reader saw it. */
typedef struct seen {
    uint32_t entry; /* NONE: not there */
    uint8_t type;
    uint32_t flags;
    uint64_t low;
    uint64_t high;
    uint64_t expires_ms;
    uint64_t word; /* of the bucket */
} seen_t;

static inline void see(const hs_shared_t *shared, const hs_shared_place_t *place, uint32_t number,
                       seen_t *seen)
{
    seen->entry = number;
    if (number == HS_SHARED_NONE)
        return;
    hs_shared_entry_t *entry = hs_shared_entry(shared, place->shard, number);
    seen->type = HS_SHARED_LOAD(entry->type);
    seen->flags = HS_SHARED_LOAD(entry->flags);
    seen->expires_ms = HS_SHARED_LOAD(entry->expires_ms);
    seen->high = HS_SHARED_LOAD(entry->value.high);
    seen->low = HS_SHARED_LOAD(entry->value.low);
}

/* The string of an entry. NOT_FOUND: it was changed meanwhile. */
static hs_shared_result_t take_string(const hs_shared_t *shared, const hs_shared_place_t *place,
                                      const seen_t *seen, hs_shared_value_t *value)
{
    hs_shared_entry_t *entry = hs_shared_entry(shared, place->shard, seen->entry);
    hs_shared_cursor_t cursor = hs_shared_entry_cursor(shared, place->shard, entry);
    if (!hs_shared_skip(&cursor, hs_shared_words(place->key_len)))
        return HS_SHARED_NOT_FOUND;
    return hs_shared_take_string(&cursor, seen->low, value);
}

/* One attempt, with the bucket's word as read. `value` NULL: without the string. */
static inline hs_shared_result_t attempt(const hs_shared_t *shared, const hs_shared_place_t *place,
                                         uint64_t word, seen_t *seen, hs_shared_value_t *value)
{
    hs_shared_found_t found = search(shared, place, word);
    see(shared, place, found.entry, seen);
    if (found.entry == HS_SHARED_NONE)
        return HS_SHARED_NOT_FOUND;
    if (value == NULL || seen->type != HS_SHARED_STRING)
        return HS_SHARED_OK;
    return take_string(shared, place, seen, value);
}

static HS_NOINLINE hs_shared_result_t read_locked(hs_shared_t *shared,
                                                  const hs_shared_place_t *place, seen_t *seen,
                                                  hs_shared_value_t *value)
{
    hs_shared_lock(shared, place->shard);
    uint64_t word = HS_SHARED_LOAD(*hs_shared_bucket(place->shard, place->bucket));
    hs_shared_result_t result = attempt(shared, place, word, seen, value);
    seen->word = word;
    hs_shared_unlock(place->shard);
    return result;
}

/* Finds an entry that no writer was changing meanwhile. */
static inline hs_shared_result_t look(hs_shared_t *shared, const hs_shared_place_t *place,
                                      seen_t *seen, hs_shared_value_t *value)
{
    hs_shared_bucket_t *bucket = hs_shared_bucket(place->shard, place->bucket);
    for (int i = 0; i < READS_MAX; i++) {
        uint64_t word = HS_SHARED_LOAD(*bucket);
        hs_shared_result_t result = attempt(shared, place, word, seen, value);
        /* All loads above are acquire: this one comes after them. */
        if (HS_LIKELY(atomic_load_explicit(bucket, memory_order_relaxed) == word)) {
            seen->word = word;
            return result;
        }
    }
    return read_locked(shared, place, seen, value);
}

static inline void touch(const hs_shared_t *shared, hs_shared_shard_t *shard, uint32_t number)
{
    hs_shared_touch(hs_shared_clock(shared, shard, number));
}

static hs_shared_result_t get(hs_shared_t *shared, const char *key, size_t key_len,
                              hs_shared_value_t *value, bool takes_stale)
{
    seen_t seen;
    value->type = HS_SHARED_NIL;
    value->is_stale = false;
    if (HS_UNLIKELY(!is_key(key_len)))
        return HS_SHARED_BAD_KEY;
    const hs_shared_place_t at = find_place(shared, key, key_len);
    const hs_shared_place_t *place = &at;
    hs_shared_result_t result = look(shared, place, &seen, value);
    if (result != HS_SHARED_OK)
        return result;
    if (hs_shared_has_expired(shared, seen.expires_ms)) {
        if (!takes_stale)
            return HS_SHARED_NOT_FOUND;
        value->is_stale = true;
    }
    touch(shared, place->shard, seen.entry);
    value->flags = seen.flags;
    value->type = (hs_shared_type_t)seen.type;
    if (seen.type == HS_SHARED_NUMBER)
        value->number = hs_shared_number(seen.high, seen.low);
    else if (seen.type == HS_SHARED_BOOLEAN)
        value->number = (double)(seen.low & 1);
    else if (seen.type != HS_SHARED_STRING) {
        value->type = HS_SHARED_NIL;
        return seen.type == HS_SHARED_LIST ? HS_SHARED_IS_LIST : HS_SHARED_NOT_FOUND;
    }
    return HS_SHARED_OK;
}

hs_shared_result_t hs_shared_get(hs_shared_t *shared, const char *key, size_t key_len,
                                 hs_shared_value_t *value)
{
    return get(shared, key, key_len, value, false);
}

hs_shared_result_t hs_shared_get_stale(hs_shared_t *shared, const char *key, size_t key_len,
                                       hs_shared_value_t *value)
{
    return get(shared, key, key_len, value, true);
}

/* Whether it exists and has not expired. */
static bool is_there(hs_shared_t *shared, const hs_shared_place_t *place)
{
    seen_t seen;
    return look(shared, place, &seen, NULL) == HS_SHARED_OK &&
           !hs_shared_has_expired(shared, seen.expires_ms);
}

hs_shared_result_t hs_shared_ttl(hs_shared_t *shared, const char *key, size_t key_len,
                                 uint64_t *ttl_ms)
{
    seen_t seen;
    if (!is_key(key_len))
        return HS_SHARED_BAD_KEY;
    const hs_shared_place_t at = find_place(shared, key, key_len);
    const hs_shared_place_t *place = &at;
    if (look(shared, place, &seen, NULL) != HS_SHARED_OK)
        return HS_SHARED_NOT_FOUND;
    *ttl_ms = HS_SHARED_FOREVER;
    if (seen.expires_ms == 0)
        return HS_SHARED_OK;
    uint64_t now_ms = shared->now_ms();
    if (seen.expires_ms <= now_ms)
        return HS_SHARED_NOT_FOUND;
    *ttl_ms = seen.expires_ms - now_ms;
    return HS_SHARED_OK;
}

/* ---- Writing. ---- */

static uint64_t expires_at(const hs_shared_t *shared, uint64_t ttl_ms)
{
    if (ttl_ms == HS_SHARED_FOREVER)
        return 0;
    uint64_t now_ms = shared->now_ms();
    return ttl_ms > UINT64_MAX - now_ms ? UINT64_MAX : now_ms + ttl_ms;
}

uint32_t hs_shared_blocks_for(size_t key_len, const hs_shared_value_t *value)
{
    size_t words = hs_shared_words(key_len);
    if (value->type == HS_SHARED_STRING) {
        if (value->length > UINT32_MAX)
            return UINT32_MAX;
        words += hs_shared_words(value->length);
    }
    if (words <= HS_SHARED_ENTRY_WORDS)
        return 1;
    return 1 + (uint32_t)((words - HS_SHARED_ENTRY_WORDS + HS_SHARED_DATA_WORDS - 1) /
                          HS_SHARED_DATA_WORDS);
}

void hs_shared_fill(const hs_shared_t *shared, hs_shared_shard_t *shard, uint32_t number,
                    const char *key, size_t key_len, const hs_shared_value_t *value,
                    uint64_t expires_ms)
{
    hs_shared_data_t *as_data = hs_shared_block(shared, shard, number);
    uint32_t more = HS_SHARED_LOAD(as_data->next);
    hs_shared_entry_t *entry = hs_shared_entry(shared, shard, number);
    uint64_t low =
        value->type == HS_SHARED_STRING ? value->length : hs_shared_bits_of(value->number);
    if (value->type == HS_SHARED_BOOLEAN)
        low = value->number != 0;
    HS_SHARED_STORE(entry->value.low, low);
    if (value->type == HS_SHARED_NUMBER)
        hs_shared_thaw(shard, entry);
    else
        HS_SHARED_STORE(entry->value.high, hs_shared_new_stamp(shard));
    HS_SHARED_STORE(entry->expires_ms, expires_ms);
    HS_SHARED_STORE(entry->more, more);
    HS_SHARED_STORE(entry->key_len, (uint16_t)key_len);
    HS_SHARED_STORE(entry->type, (uint8_t)value->type);
    HS_SHARED_STORE(entry->flags, value->flags);
    hs_shared_cursor_t cursor = hs_shared_entry_cursor(shared, shard, entry);
    hs_shared_copy_in(&cursor, key, key_len);
    if (value->type == HS_SHARED_STRING)
        hs_shared_copy_in(&cursor, value->data, value->length);
    atomic_store_explicit(hs_shared_clock(shared, shard, number), HS_SHARED_CLOCK_NEW,
                          memory_order_relaxed);
}

void hs_shared_publish(const hs_shared_t *shared, const hs_shared_place_t *place,
                       hs_shared_found_t old, uint32_t number)
{
    hs_shared_shard_t *shard = place->shard;
    hs_shared_entry_t *entry = hs_shared_entry(shared, shard, number);
    hs_shared_intend(shard, place->bucket);
    HS_SHARED_STORE(shard->entries, HS_SHARED_LOAD(shard->entries) + 1);
    if (old.entry == HS_SHARED_NONE) {
        uint64_t word = HS_SHARED_LOAD(*hs_shared_bucket(shard, place->bucket));
        HS_SHARED_STORE(entry->chain, (uint32_t)word);
        hs_shared_link(shared, shard, place->bucket, HS_SHARED_NONE, number, NULL);
        return;
    }
    hs_shared_entry_t *before = hs_shared_entry(shared, shard, old.entry);
    HS_SHARED_STORE(entry->chain, HS_SHARED_LOAD(before->chain));
    hs_shared_link(shared, shard, place->bucket, old.previous, number, before);
    hs_shared_free_entry(shared, shard, old.entry);
}

static hs_shared_result_t put(hs_shared_t *shared, const hs_shared_place_t *place,
                              hs_shared_found_t found, const hs_shared_value_t *value,
                              uint64_t expires_ms, hs_shared_need_t *need)
{
    uint32_t number;
    hs_shared_intend(place->shard, place->bucket);
    if (!hs_shared_take(shared, place->shard, hs_shared_blocks_for(place->key_len, value), need,
                        &number))
        return HS_SHARED_NO_MEMORY;
    if (need->has_removed)
        found = search_locked(shared, place);
    hs_shared_fill(shared, place->shard, number, place->key, place->key_len, value, expires_ms);
    hs_shared_publish(shared, place, found, number);
    return HS_SHARED_OK;
}

/* Found, and has not expired. */
static bool is_live(const hs_shared_t *shared, const hs_shared_place_t *place,
                    hs_shared_found_t found)
{
    if (found.entry == HS_SHARED_NONE)
        return false;
    hs_shared_entry_t *entry = hs_shared_entry(shared, place->shard, found.entry);
    return !hs_shared_has_expired(shared, HS_SHARED_LOAD(entry->expires_ms));
}

/* Replaces a number with another. */
static void set_number(hs_shared_shard_t *shard, hs_shared_entry_t *entry, double number)
{
    uint64_t high = HS_SHARED_LOAD(entry->value.high);
    int32_t small;
    bool fits = hs_shared_fits(number, &small);
    /* One store, if the form stays: a lock-free addition either came before, or fails and retries.
     */
    if (fits && hs_shared_is_small(high)) {
        HS_SHARED_STORE(entry->value.high, (high & ~(uint64_t)UINT32_MAX) | (uint32_t)small);
    } else if (!fits && !hs_shared_is_small(high)) {
        HS_SHARED_STORE(entry->value.low, hs_shared_bits_of(number));
    } else {
        (void)hs_shared_freeze(entry);
        HS_SHARED_STORE(entry->value.low, hs_shared_bits_of(number));
        hs_shared_thaw(shard, entry);
    }
}

/* Replaces a number with another that does not expire. */
static bool set_in_place(const hs_shared_t *shared, const hs_shared_place_t *place,
                         hs_shared_found_t found, const hs_shared_value_t *value,
                         uint64_t expires_ms)
{
    if (value->type != HS_SHARED_NUMBER || found.entry == HS_SHARED_NONE || expires_ms != 0)
        return false;
    hs_shared_entry_t *entry = hs_shared_entry(shared, place->shard, found.entry);
    if (HS_SHARED_LOAD(entry->type) != HS_SHARED_NUMBER || HS_SHARED_LOAD(entry->expires_ms) != 0 ||
        HS_SHARED_LOAD(entry->flags) != value->flags)
        return false;
    set_number(place->shard, entry, value->number);
    touch(shared, place->shard, found.entry);
    return true;
}

hs_shared_result_t hs_shared_store(hs_shared_t *shared, int mode, const char *key, size_t key_len,
                                   const hs_shared_value_t *value, uint64_t ttl_ms,
                                   bool *was_forced)
{
    bool is_safe = (mode & HS_SHARED_SAFE) != 0;
    int how = mode & ~HS_SHARED_SAFE;
    hs_shared_need_t need = { .only_expired = is_safe };
    hs_shared_result_t result = HS_SHARED_OK;
    if (was_forced != NULL)
        *was_forced = false;
    if (!is_key(key_len))
        return HS_SHARED_BAD_KEY;
    if (!is_value(value))
        return HS_SHARED_BAD_VALUE;
    const hs_shared_place_t at = find_place(shared, key, key_len);
    const hs_shared_place_t *place = &at;
    /* Without the lock, for callers that try repeatedly to be first. */
    if (how == HS_SHARED_ADD && is_there(shared, place))
        return HS_SHARED_EXISTS;
    uint64_t expires_ms = expires_at(shared, ttl_ms);
    hs_shared_lock(shared, place->shard);
    hs_shared_found_t found = search_locked(shared, place);
    bool was_there = how != HS_SHARED_SET && is_live(shared, place, found);
    if (how == HS_SHARED_ADD && was_there)
        result = HS_SHARED_EXISTS;
    else if (how == HS_SHARED_REPLACE && !was_there)
        result = HS_SHARED_NOT_FOUND;
    else if (!set_in_place(shared, place, found, value, expires_ms))
        result = put(shared, place, found, value, expires_ms, &need);
    hs_shared_unlock(place->shard);
    if (was_forced != NULL)
        *was_forced = need.was_forced;
    return result;
}

hs_shared_result_t hs_shared_delete(hs_shared_t *shared, const char *key, size_t key_len)
{
    seen_t seen;
    if (!is_key(key_len))
        return HS_SHARED_BAD_KEY;
    const hs_shared_place_t at = find_place(shared, key, key_len);
    const hs_shared_place_t *place = &at;
    if (look(shared, place, &seen, NULL) == HS_SHARED_NOT_FOUND)
        return HS_SHARED_NOT_FOUND;
    hs_shared_lock(shared, place->shard);
    hs_shared_found_t found = search_locked(shared, place);
    bool was_there = is_live(shared, place, found);
    if (found.entry != HS_SHARED_NONE)
        hs_shared_remove(shared, place->shard, place->bucket, found);
    hs_shared_unlock(place->shard);
    return was_there ? HS_SHARED_OK : HS_SHARED_NOT_FOUND;
}

hs_shared_result_t hs_shared_expire(hs_shared_t *shared, const char *key, size_t key_len,
                                    uint64_t ttl_ms)
{
    if (!is_key(key_len))
        return HS_SHARED_BAD_KEY;
    const hs_shared_place_t at = find_place(shared, key, key_len);
    const hs_shared_place_t *place = &at;
    uint64_t expires_ms = expires_at(shared, ttl_ms);
    hs_shared_lock(shared, place->shard);
    hs_shared_found_t found = search_locked(shared, place);
    bool was_there = is_live(shared, place, found);
    if (was_there)
        HS_SHARED_STORE(hs_shared_entry(shared, place->shard, found.entry)->expires_ms, expires_ms);
    hs_shared_unlock(place->shard);
    return was_there ? HS_SHARED_OK : HS_SHARED_NOT_FOUND;
}

/* ---- Numbers. ---- */

/* change, of a number in `high`: one word. */
static bool change_small(hs_shared_entry_t *entry, uint64_t high, double amount, const double *to,
                         double *number)
{
    const uint64_t before = high;
    uint64_t changed;
    int32_t small;
    if (to != NULL && !hs_shared_fits(*to, &small))
        return false;
    do {
        if (to != NULL)
            changed = (high & ~(uint64_t)UINT32_MAX) | (uint32_t)small;
        else if (!hs_shared_plus(high, amount, &changed))
            return false;
        if (HS_LIKELY(atomic_compare_exchange_strong(&entry->value.high, &high, changed))) {
            *number = hs_shared_number(changed, 0);
            return true;
        }
    } while (high >> 32 == before >> 32 && to == NULL);
    return false;
}

/* change, of a number in two words. */
static bool change_pair(hs_shared_entry_t *entry, const seen_t *seen, double amount,
                        const double *to, double *number)
{
    uint64_t low = seen->low;
    uint64_t high = seen->high;
    if (!HS_HAS_CAS16)
        return false;
    do {
        *number = to != NULL ? *to : hs_shared_number_of(low) + amount;
        if (hs_cas16(&entry->value, &low, &high, hs_shared_bits_of(*number), seen->high))
            return true;
    } while (high == seen->high && to == NULL);
    return false;
}

/*
 * Adds `amount` to a number that was seen, or, with `to`, replaces it with that if it is the same
 * still. Without the lock. False: by now the entry is something else or, with `to`, the number is
 * another; or only the lock's holder may change it.
 */
static bool change(hs_shared_entry_t *entry, const seen_t *seen, double amount, const double *to,
                   double *number)
{
    if (HS_LIKELY(hs_shared_is_small(seen->high)))
        return change_small(entry, seen->high, amount, to, number);
    return seen->high != 0 && change_pair(entry, seen, amount, to, number);
}

/* Under the lock, with no lock-free changes possible. */
static void add_frozen(hs_shared_shard_t *shard, hs_shared_entry_t *entry, double amount,
                       double *number)
{
    *number = hs_shared_number_of(hs_shared_freeze(entry)) + amount;
    HS_SHARED_STORE(entry->value.low, hs_shared_bits_of(*number));
    hs_shared_thaw(shard, entry);
}

static HS_NOINLINE hs_shared_result_t incr_locked(hs_shared_t *shared,
                                                  const hs_shared_place_t *place, double amount,
                                                  const double *initial, uint64_t ttl_ms,
                                                  double *number, bool *was_forced)
{
    hs_shared_need_t need = { .keep = HS_SHARED_NONE };
    hs_shared_result_t result = HS_SHARED_OK;
    hs_shared_lock(shared, place->shard);
    hs_shared_found_t found = search_locked(shared, place);
    if (is_live(shared, place, found)) {
        hs_shared_entry_t *entry = hs_shared_entry(shared, place->shard, found.entry);
        if (HS_SHARED_LOAD(entry->type) == HS_SHARED_NUMBER)
            add_frozen(place->shard, entry, amount, number);
        else
            result = HS_SHARED_NOT_A_NUMBER;
    } else if (initial == NULL) {
        result = HS_SHARED_NOT_FOUND;
    } else {
        hs_shared_value_t value = { .type = HS_SHARED_NUMBER, .number = *initial + amount };
        *number = value.number;
        result = put(shared, place, found, &value, expires_at(shared, ttl_ms), &need);
    }
    hs_shared_unlock(place->shard);
    if (was_forced != NULL)
        *was_forced = need.was_forced;
    return result;
}

static HS_ALWAYS_INLINE hs_shared_result_t incr(hs_shared_t *shared, hs_shared_hint_t *hint,
                                                const char *key, size_t key_len, double amount,
                                                const double *initial, uint64_t ttl_ms,
                                                double *number, bool *was_forced)
{
    seen_t seen;
    if (was_forced != NULL)
        *was_forced = false;
    if (HS_UNLIKELY(!is_key(key_len)))
        return HS_SHARED_BAD_KEY;
    const hs_shared_place_t at = find_place(shared, key, key_len);
    const hs_shared_place_t *place = &at;
    if (look(shared, place, &seen, NULL) == HS_SHARED_OK && seen.type == HS_SHARED_NUMBER &&
        !hs_shared_has_expired(shared, seen.expires_ms)) {
        hs_shared_entry_t *entry = hs_shared_entry(shared, place->shard, seen.entry);
        if (change(entry, &seen, amount, NULL, number)) {
            _Atomic uint8_t *clock = hs_shared_clock(shared, place->shard, seen.entry);
            hs_shared_touch(clock);
            if (hint != NULL && hs_shared_is_small(seen.high) && key_len <= sizeof(hint->key)) {
                *hint = (hs_shared_hint_t){ .shared = shared,
                                            .key_len = key_len,
                                            .bucket = hs_shared_bucket(place->shard, place->bucket),
                                            .word = seen.word,
                                            .entry = entry,
                                            .stamp = seen.high >> 32,
                                            .clock = clock };
                memcpy(hint->key, key, key_len);
            }
            return HS_SHARED_OK;
        }
    }
    return incr_locked(shared, place, amount, initial, ttl_ms, number, was_forced);
}

hs_shared_result_t hs_shared_incr(hs_shared_t *shared, const char *key, size_t key_len,
                                  double amount, const double *initial, uint64_t ttl_ms,
                                  double *number, bool *was_forced)
{
    return incr(shared, NULL, key, key_len, amount, initial, ttl_ms, number, was_forced);
}

hs_shared_result_t hs_shared_incr_hinting(hs_shared_t *shared, hs_shared_hint_t *hint,
                                          const char *key, size_t key_len, double amount,
                                          const double *initial, uint64_t ttl_ms, double *number,
                                          bool *was_forced)
{
    return incr(shared, hint, key, key_len, amount, initial, ttl_ms, number, was_forced);
}

/* ---- Compare and swap. ---- */

static bool same_number(uint64_t bits, double number)
{
    return hs_shared_number_of(bits) == number || bits == hs_shared_bits_of(number);
}

/* Whether the live entry has this value. Freezes a number. */
static bool has_value(const hs_shared_t *shared, const hs_shared_place_t *place, uint32_t number,
                      const hs_shared_value_t *value)
{
    hs_shared_entry_t *entry = hs_shared_entry(shared, place->shard, number);
    if (HS_SHARED_LOAD(entry->type) != (uint8_t)value->type)
        return false;
    if (value->type == HS_SHARED_NUMBER)
        return same_number(hs_shared_freeze(entry), value->number);
    if (value->type == HS_SHARED_BOOLEAN)
        return (HS_SHARED_LOAD(entry->value.low) != 0) == (value->number != 0);
    hs_shared_cursor_t cursor = hs_shared_entry_cursor(shared, place->shard, entry);
    return value->type == HS_SHARED_STRING && HS_SHARED_LOAD(entry->value.low) == value->length &&
           hs_shared_skip(&cursor, hs_shared_words(place->key_len)) &&
           hs_shared_equals(&cursor, value->data, value->length);
}

/* A number that stays was frozen for a comparison. */
static void thaw(const hs_shared_t *shared, const hs_shared_place_t *place)
{
    hs_shared_found_t found = search_locked(shared, place);
    if (found.entry == HS_SHARED_NONE)
        return;
    hs_shared_entry_t *entry = hs_shared_entry(shared, place->shard, found.entry);
    if (HS_SHARED_LOAD(entry->type) == HS_SHARED_NUMBER && HS_SHARED_LOAD(entry->value.high) == 0)
        hs_shared_thaw(place->shard, entry);
}

static hs_shared_result_t cas_locked(hs_shared_t *shared, const hs_shared_place_t *place,
                                     const hs_shared_value_t *expected,
                                     const hs_shared_value_t *value, uint64_t ttl_ms,
                                     hs_shared_need_t *need)
{
    hs_shared_found_t found = search_locked(shared, place);
    bool was_there = is_live(shared, place, found);
    if (was_there != (expected != NULL))
        return HS_SHARED_DIFFERS;
    hs_shared_intend(place->shard, place->bucket);
    if (was_there && !has_value(shared, place, found.entry, expected))
        return HS_SHARED_DIFFERS;
    if (value == NULL) {
        if (found.entry != HS_SHARED_NONE)
            hs_shared_remove(shared, place->shard, place->bucket, found);
        return HS_SHARED_OK;
    }
    uint64_t expires_ms = 0;
    if (ttl_ms != HS_SHARED_KEEP_TTL)
        expires_ms = expires_at(shared, ttl_ms);
    else if (was_there)
        expires_ms = HS_SHARED_LOAD(hs_shared_entry(shared, place->shard, found.entry)->expires_ms);
    if (set_in_place(shared, place, found, value, expires_ms))
        return HS_SHARED_OK;
    return put(shared, place, found, value, expires_ms, need);
}

/* Replaces a number with a number, in place and without the lock. False: not possible. */
static bool cas_number(hs_shared_t *shared, const hs_shared_place_t *place, double expected,
                       const hs_shared_value_t *value, hs_shared_result_t *result)
{
    seen_t seen;
    double number;
    if (look(shared, place, &seen, NULL) != HS_SHARED_OK || seen.type != HS_SHARED_NUMBER ||
        seen.high == 0 || seen.flags != value->flags ||
        hs_shared_has_expired(shared, seen.expires_ms))
        return false;
    if (hs_shared_number(seen.high, seen.low) != expected) {
        *result = HS_SHARED_DIFFERS;
        return true;
    }
    hs_shared_entry_t *entry = hs_shared_entry(shared, place->shard, seen.entry);
    if (!change(entry, &seen, 0, &value->number, &number))
        return false;
    touch(shared, place->shard, seen.entry);
    *result = HS_SHARED_OK;
    return true;
}

hs_shared_result_t hs_shared_cas(hs_shared_t *shared, const char *key, size_t key_len,
                                 const hs_shared_value_t *expected, const hs_shared_value_t *value,
                                 uint64_t ttl_ms, bool *was_forced)
{
    hs_shared_need_t need = { .keep = HS_SHARED_NONE };
    hs_shared_result_t result;
    if (was_forced != NULL)
        *was_forced = false;
    if (!is_key(key_len))
        return HS_SHARED_BAD_KEY;
    if ((expected != NULL && !is_value(expected)) || (value != NULL && !is_value(value)))
        return HS_SHARED_BAD_VALUE;
    const hs_shared_place_t at = find_place(shared, key, key_len);
    const hs_shared_place_t *place = &at;
    if (ttl_ms == HS_SHARED_KEEP_TTL && expected != NULL && value != NULL &&
        expected->type == HS_SHARED_NUMBER && value->type == HS_SHARED_NUMBER &&
        cas_number(shared, place, expected->number, value, &result))
        return result;
    hs_shared_lock(shared, place->shard);
    result = cas_locked(shared, place, expected, value, ttl_ms, &need);
    if (expected != NULL && expected->type == HS_SHARED_NUMBER)
        thaw(shared, place);
    hs_shared_unlock(place->shard);
    if (was_forced != NULL)
        *was_forced = need.was_forced;
    return result;
}

/* ---- All entries. ---- */

/* Number of buckets after which the lock is released for others. */
#define BUCKETS_A_TIME 256

void hs_shared_flush_all(hs_shared_t *shared)
{
    for (uint32_t s = 0; s < HS_SHARED_SHARDS; s++) {
        hs_shared_shard_t *shard = hs_shared_shard(shared, s);
        hs_shared_lock(shared, shard);
        for (uint32_t i = 0; i < shared->buckets; i++) {
            uint32_t number = (uint32_t)HS_SHARED_LOAD(*hs_shared_bucket(shard, i));
            for (uint32_t n = 0; n < shared->blocks && hs_shared_is_block(shared, number); n++) {
                hs_shared_entry_t *entry = hs_shared_entry(shared, shard, number);
                HS_SHARED_STORE(entry->expires_ms, 1);
                number = HS_SHARED_LOAD(entry->chain);
            }
        }
        hs_shared_unlock(shard);
    }
}

static size_t flush_bucket(const hs_shared_t *shared, hs_shared_shard_t *shard, uint32_t bucket,
                           uint64_t now_ms)
{
    size_t count = 0;
    hs_shared_found_t at = { (uint32_t)HS_SHARED_LOAD(*hs_shared_bucket(shard, bucket)),
                             HS_SHARED_NONE };
    for (uint32_t i = 0; i < shared->blocks && hs_shared_is_block(shared, at.entry); i++) {
        hs_shared_entry_t *entry = hs_shared_entry(shared, shard, at.entry);
        uint64_t expires_ms = HS_SHARED_LOAD(entry->expires_ms);
        uint32_t next = HS_SHARED_LOAD(entry->chain);
        if (expires_ms != 0 && expires_ms <= now_ms) {
            hs_shared_remove(shared, shard, bucket, at);
            hs_shared_count(&shard->expirations);
            count++;
        } else {
            at.previous = at.entry;
        }
        at.entry = next;
    }
    return count;
}

size_t hs_shared_flush_expired(hs_shared_t *shared, size_t most)
{
    size_t count = 0;
    uint64_t now_ms = shared->now_ms();
    size_t limit = most == 0 ? SIZE_MAX : most;
    for (uint32_t s = 0; s < HS_SHARED_SHARDS && count < limit; s++) {
        hs_shared_shard_t *shard = hs_shared_shard(shared, s);
        for (uint32_t i = 0; i < shared->buckets && count < limit;) {
            uint32_t end =
                i + BUCKETS_A_TIME < shared->buckets ? i + BUCKETS_A_TIME : shared->buckets;
            hs_shared_lock(shared, shard);
            for (; i < end && count < limit; i++)
                count += flush_bucket(shared, shard, i, now_ms);
            hs_shared_unlock(shard);
        }
    }
    return count;
}

/* Appends the keys of a bucket. False: it was changed meanwhile, or there is no memory. */
static bool scan_bucket(hs_shared_t *shared, hs_shared_shard_t *shard, uint64_t word,
                        uint64_t now_ms, hs_shared_value_t *keys, size_t *count)
{
    uint32_t number = (uint32_t)word;
    for (uint32_t n = 0; n < shared->blocks && hs_shared_is_block(shared, number); n++) {
        hs_shared_entry_t *entry = hs_shared_entry(shared, shard, number);
        uint32_t key_len = HS_SHARED_LOAD(entry->key_len);
        uint64_t expires_ms = HS_SHARED_LOAD(entry->expires_ms);
        if (expires_ms == 0 || expires_ms > now_ms) {
            hs_shared_cursor_t cursor = hs_shared_entry_cursor(shared, shard, entry);
            if (!hs_shared_reserve(keys, keys->length + sizeof(key_len) + key_len) ||
                !hs_shared_copy_out(&cursor, keys->buffer + keys->length + sizeof(key_len),
                                    key_len))
                return false;
            memcpy(keys->buffer + keys->length, &key_len, sizeof(key_len));
            keys->length += sizeof(key_len) + key_len;
            (*count)++;
        }
        number = HS_SHARED_LOAD(entry->chain);
    }
    return true;
}

static size_t scan_whole_bucket(hs_shared_t *shared, hs_shared_shard_t *shard, uint32_t bucket,
                                uint64_t now_ms, hs_shared_value_t *keys)
{
    hs_shared_bucket_t *at = hs_shared_bucket(shard, bucket);
    size_t length = keys->length;
    for (int i = 0;; i++) {
        bool is_locked = i >= READS_MAX;
        size_t count = 0;
        if (is_locked)
            hs_shared_lock(shared, shard);
        uint64_t word = HS_SHARED_LOAD(*at);
        bool is_whole = scan_bucket(shared, shard, word, now_ms, keys, &count);
        bool is_same = atomic_load_explicit(at, memory_order_relaxed) == word;
        if (is_locked)
            hs_shared_unlock(shard);
        if (is_same && is_whole)
            return count;
        keys->length = length;
        if (is_locked)
            return 0;
    }
}

size_t hs_shared_scan(hs_shared_t *shared, uint64_t *cursor, size_t most, hs_shared_value_t *keys)
{
    uint64_t end = (uint64_t)HS_SHARED_SHARDS * shared->buckets;
    uint64_t now_ms = shared->now_ms();
    uint64_t at = *cursor;
    size_t count = 0;
    keys->type = HS_SHARED_STRING;
    keys->length = 0;
    do {
        if (at >= end)
            break;
        hs_shared_shard_t *shard = hs_shared_shard(shared, (uint32_t)(at / shared->buckets));
        count += scan_whole_bucket(shared, shard, (uint32_t)(at % shared->buckets), now_ms, keys);
        at++;
    } while (count < most);
    keys->data = keys->buffer;
    *cursor = at >= end ? 0 : at;
    return count;
}
