/*
 * The dictionary of httpserver.h (hs_shared_t) in this process, and the layout of its memory, which
 * other processes read and write at the same time.
 *
 * The memory is a header and HS_SHARED_SHARDS shards. A shard has a lock, buckets, and blocks of 64
 * bytes. A bucket is one word: a sequence number, and the first entry of a chain. An entry is one
 * block, with up to 24 bytes of key and value in it and the rest in a chain of data blocks: no
 * value needs contiguous memory, so there is no fragmentation, and removing any entries frees
 * memory.
 *
 * Writing. Under the lock of the shard. An entry is complete before one store links it into a
 * chain, replacing its predecessor if there is one; then the bucket's sequence number is raised,
 * and only then the blocks of the old one are reused. Two things are changed in place, each with
 * one store: a number (HS_SHARED_NUMBER), and the expiry of an entry.
 *
 * Reading. Without a lock: read the word of the bucket, follow the chain, copy, and read the word
 * again. If it is unchanged, nothing that was read was reused meanwhile; otherwise retry. Before
 * that check the data may be anything: every block number is checked before it becomes an address,
 * every length before copying. A reader writes one byte for the eviction, and that only if it is
 * not set yet.
 *
 * Counting. A number is changed without the lock, by a compare-and-swap of the number together with
 * the stamp of its block, which is unique to this use of the block. A small number, whole and of 32
 * bits, is in one word with 30 bits of the stamp; any other takes two words (base/hs_cas16.h) and
 * twice the time. Code that changes the entry or the form of its number under the lock clears the
 * stamp first, which makes the others take the lock.
 *
 * Repair. Everything not reachable from a bucket is derived from what is: free blocks, counts, the
 * back links of lists. If the owner of a lock was killed with its `intent` set, the next one raises
 * the sequence number of that bucket and rederives everything (hs_shared_repair).
 */
#pragma once

#include <stdatomic.h>
#include <string.h>

#include "base/hs_cas16.h"
#include "base/hs_err.h"
#include "httpserver.h"
#include "os/hs_shlock.h"

#define HS_SHARED_SHARDS 64
#define HS_SHARED_BLOCK 64
#define HS_SHARED_ENTRY_WORDS                                                                      \
    3 /* bytes of key and value in an entry, in a data block, in an                                \
         item */
#define HS_SHARED_DATA_WORDS 7
#define HS_SHARED_ITEM_WORDS 5
#define HS_SHARED_NONE 0 /* no block: blocks are numbered from 1 */
/* The value that a reader sets in an entry's byte, and that of a new one: rounds of the search for
 * victims that it survives. */
#define HS_SHARED_CLOCK_READ 2
#define HS_SHARED_CLOCK_NEW 1

/*
 * All words below may be read by any process at any time, and are written under the shard's lock
 * unless noted otherwise. Stores are release and readers' loads acquire: what a reader finds
 * through a block number was stored before the number, and blocks are reused only after the
 * sequence number was raised.
 */
typedef _Atomic uint64_t hs_shared_word_t;
typedef _Atomic uint32_t hs_shared_half_t;

/* Written once, before another process has the memory. */
typedef struct hs_shared_header {
    uint64_t magic;
    uint32_t version;
    uint32_t shards;
    uint64_t size;
    uint64_t seed[2];
    uint32_t buckets; /* of a shard, as are the next two */
    uint32_t blocks;
    uint64_t shard_size;
    char _pad[HS_CACHE_LINE - 56];
} hs_shared_header_t;

/* In front of the buckets. */
typedef struct hs_shared_shard {
    _Alignas(HS_CACHE_LINE) hs_shlock_t lock;

    /* 0: nothing is being written; else the bucket being written, from 1. Set before the first
     * store of a call and cleared after the last. */
    _Alignas(HS_CACHE_LINE) hs_shared_half_t intent;
    hs_shared_half_t free_first; /* a chain of blocks that are not used any more */
    hs_shared_half_t free_count; /* the number of these and of never used ones */
    hs_shared_half_t fresh;      /* blocks that were ever used */
    hs_shared_half_t hand;       /* the bucket at which the search for victims goes on */
    hs_shared_half_t entries;
    hs_shared_word_t stamp; /* the last one given */

    /* Counters of hs_shared_stats_t. */
    hs_shared_word_t evictions;
    hs_shared_word_t expirations;
    hs_shared_word_t refusals;
    hs_shared_word_t repairs;
} hs_shared_shard_t;

/* A bucket: sequence number << 32 | first entry. */
typedef hs_shared_word_t hs_shared_bucket_t;

typedef struct hs_shared_entry {
    /* low: of a number its bits, also changed by hs_cas16 without the lock; of a boolean 0 or 1; of
     * a string its length; of a list its blocks << 32 | items. high: the stamp, with the highest
     * bit set; HS_SHARED_SMALL | part of it << 32 | an int32_t, which is the number instead of
     * `low`, also changed without the lock; 0: only the lock's holder changes the number. Of a list
     * its first item. */
    hs_pair_t value;
    hs_shared_word_t expires_ms; /* 0: never. May change while the entry is in use */
    hs_shared_half_t chain;      /* the next entry of the bucket */
    hs_shared_half_t more;       /* the first data block */
    _Atomic uint16_t key_len;
    _Atomic uint8_t type; /* hs_shared_type_t */
    _Atomic uint8_t _unused;
    hs_shared_half_t flags; /* of a list the last item */
    hs_shared_word_t words[HS_SHARED_ENTRY_WORDS];
} hs_shared_entry_t;

/* Also what a free block is. */
typedef struct hs_shared_data {
    hs_shared_half_t next;
    hs_shared_half_t _unused;
    hs_shared_word_t words[HS_SHARED_DATA_WORDS];
} hs_shared_data_t;

/* An item of a list. Only read under the lock. */
typedef struct hs_shared_item {
    hs_shared_half_t next;
    hs_shared_half_t previous; /* derived */
    hs_shared_word_t value;    /* the number's bits, or the string's length */
    hs_shared_half_t more;     /* the first data block */
    hs_shared_half_t type;
    hs_shared_word_t words[HS_SHARED_ITEM_WORDS];
} hs_shared_item_t;

_Static_assert(sizeof(hs_shared_header_t) == HS_CACHE_LINE &&
                   sizeof(hs_shared_shard_t) % HS_CACHE_LINE == 0 &&
                   sizeof(hs_shared_entry_t) == HS_SHARED_BLOCK &&
                   sizeof(hs_shared_data_t) == HS_SHARED_BLOCK &&
                   sizeof(hs_shared_item_t) == HS_SHARED_BLOCK,
               "as the layout is computed");

/* owner: its creator; read-only for the threads that use it. The numbers are private copies: those
 * in the memory may be changed by mistake. */
struct hs_shared {
    char name[HS_SHARED_NAME_MAX + 1];
    int fd;
    size_t size;
    char *memory;
    uint64_t (*now_ms)(void); /* read only if something may have expired */
    uint64_t seed[2];
    uint32_t buckets;
    uint32_t blocks;
    uint32_t value_blocks; /* that one value takes at most */
    size_t shard_size;
    size_t clock_offset; /* in a shard: a byte per block, set by readers without the lock */
    size_t marks_offset; /* a bit per block, for a repair */
    size_t blocks_offset;
};

/* hs_shared_create and hs_shared_attach. NULL on failure. */
HS_NODISCARD hs_shared_t *hs_shared_new(const char *name, size_t size, hs_errinfo_t *error);
HS_NODISCARD hs_shared_t *hs_shared_map(const char *name, int fd, hs_errinfo_t *error);

/* ---- On mapped memory, of `size` bytes at a multiple of a cache line. ---- */

/* Computes the layout, in `shared`, for memory of this size. False: too small. */
HS_NODISCARD bool hs_shared_layout(hs_shared_t *shared, size_t size);
/* Formats zeroed memory as an empty dictionary. 0 or -errno. */
HS_NODISCARD int hs_shared_format(hs_shared_t *shared);
/* Whether the memory was formatted by hs_shared_format of this version; reads the seed. */
HS_NODISCARD bool hs_shared_recognise(hs_shared_t *shared);

static inline hs_shared_shard_t *hs_shared_shard(const hs_shared_t *shared, uint32_t shard)
{
    return (hs_shared_shard_t *)(void *)(shared->memory + sizeof(hs_shared_header_t) +
                                         shard * shared->shard_size);
}

static inline hs_shared_bucket_t *hs_shared_bucket(hs_shared_shard_t *shard, uint32_t bucket)
{
    return (hs_shared_bucket_t *)(void *)(shard + 1) + bucket;
}

static inline bool hs_shared_is_block(const hs_shared_t *shared, uint32_t number)
{
    return number - 1 < shared->blocks;
}

/* `number` is a block's. */
static inline void *hs_shared_block(const hs_shared_t *shared, hs_shared_shard_t *shard,
                                    uint32_t number)
{
    HS_ASSERT(hs_shared_is_block(shared, number));
    return (char *)shard + shared->blocks_offset + (size_t)(number - 1) * HS_SHARED_BLOCK;
}

static inline hs_shared_entry_t *hs_shared_entry(const hs_shared_t *shared,
                                                 hs_shared_shard_t *shard, uint32_t number)
{
    return hs_shared_block(shared, shard, number);
}

static inline _Atomic uint8_t *hs_shared_clock(const hs_shared_t *shared, hs_shared_shard_t *shard,
                                               uint32_t number)
{
    return (_Atomic uint8_t *)(void *)((char *)shard + shared->clock_offset + (number - 1));
}

/* An entry was used: the search for victims passes it twice. */
static HS_ALWAYS_INLINE void hs_shared_touch(_Atomic uint8_t *clock)
{
    /* Harmless if the block has been reused by now. */
    if (HS_UNLIKELY(atomic_load_explicit(clock, memory_order_relaxed) != HS_SHARED_CLOCK_READ))
        atomic_store_explicit(clock, HS_SHARED_CLOCK_READ, memory_order_relaxed);
}

#define HS_SHARED_LOAD(word) atomic_load_explicit(&(word), memory_order_acquire)
#define HS_SHARED_STORE(word, value) atomic_store_explicit(&(word), (value), memory_order_release)

/* A key, its location, and its first words, the last one padded with zeros. */
typedef struct hs_shared_place {
    hs_shared_shard_t *shard;
    uint32_t bucket;
    size_t key_len;
    const char *key;
    uint64_t words[HS_SHARED_ENTRY_WORDS];
} hs_shared_place_t;

/* An entry of a bucket, NONE if not found, and its predecessor in the chain. */
typedef struct hs_shared_found {
    uint32_t entry;
    uint32_t previous;
} hs_shared_found_t;

hs_shared_place_t hs_shared_place(const hs_shared_t *shared, const char *key, size_t key_len);

/* Searches the chain of a bucket whose word was read as `word`. Without the lock the result is
 * valid only if the word is unchanged. */
hs_shared_found_t hs_shared_search(const hs_shared_t *shared, const hs_shared_place_t *place,
                                   uint64_t word);

/* ---- Bytes in blocks (hs_shared_bytes.c). ---- */

/* Words of key or value: each begins with a word of its own. */
static inline size_t hs_shared_words(size_t len)
{
    return (len + 7) / 8;
}

/* Where the next word is. */
typedef struct hs_shared_cursor {
    const hs_shared_t *shared;
    hs_shared_shard_t *shard;
    hs_shared_word_t *words;
    uint32_t left;
    uint32_t next; /* data block */
} hs_shared_cursor_t;

hs_shared_cursor_t hs_shared_entry_cursor(const hs_shared_t *shared, hs_shared_shard_t *shard,
                                          hs_shared_entry_t *entry);
hs_shared_cursor_t hs_shared_item_cursor(const hs_shared_t *shared, hs_shared_shard_t *shard,
                                         hs_shared_item_t *item);

/* False: the chain is too short, because it was changed meanwhile or damaged. */
HS_NODISCARD bool hs_shared_copy_out(hs_shared_cursor_t *cursor, char *data, size_t len);
HS_NODISCARD bool hs_shared_equals(hs_shared_cursor_t *cursor, const char *data, size_t len);
HS_NODISCARD bool hs_shared_skip(hs_shared_cursor_t *cursor, size_t words);
/* The blocks are there. */
void hs_shared_copy_in(hs_shared_cursor_t *cursor, const char *data, size_t len);

/* A string into value->buffer. HS_SHARED_NO_MEMORY; HS_SHARED_NOT_FOUND: as above. */
HS_NODISCARD hs_shared_result_t hs_shared_take_string(hs_shared_cursor_t *cursor, size_t len,
                                                      hs_shared_value_t *value);
HS_NODISCARD bool hs_shared_reserve(hs_shared_value_t *value, size_t size);

/* ---- Blocks, under the lock (hs_shared_space.c). ---- */

void hs_shared_lock(hs_shared_t *shared, hs_shared_shard_t *shard);
/* The call is complete. */
void hs_shared_unlock(hs_shared_shard_t *shard);

/* Before the first store that concerns `bucket`. */
static inline void hs_shared_intend(hs_shared_shard_t *shard, uint32_t bucket)
{
    HS_SHARED_STORE(shard->intent, bucket + 1);
}

/* Raises the sequence number of a bucket: what was unlinked before may be reused after. */
void hs_shared_raise(hs_shared_shard_t *shard, uint32_t bucket);

/*
 * Links `number`, which may be NONE, after `previous` in the chain of a bucket (NONE: as the
 * first), and raises the sequence number. `old`: the replaced entry, NULL if there was none.
 */
void hs_shared_link(const hs_shared_t *shared, hs_shared_shard_t *shard, uint32_t bucket,
                    uint32_t previous, uint32_t number, hs_shared_entry_t *old);

/* What a call may evict to get blocks. */
typedef struct hs_shared_need {
    bool only_expired;
    uint32_t keep;    /* an entry that stays; NONE: none */
    bool has_removed; /* set: earlier searches must be repeated */
    bool was_forced;  /* set: an unexpired entry was evicted */
} hs_shared_need_t;

/* A chain of `count` data blocks, in `*first` (NONE for 0 of them). False: not available, and
 * counted as refused. */
HS_NODISCARD bool hs_shared_take(hs_shared_t *shared, hs_shared_shard_t *shard, uint32_t count,
                                 hs_shared_need_t *need, uint32_t *first);
/* A chain of data blocks; `first` may be NONE. */
void hs_shared_give(const hs_shared_t *shared, hs_shared_shard_t *shard, uint32_t first);

/* Unlinks an entry and frees it. */
void hs_shared_remove(const hs_shared_t *shared, hs_shared_shard_t *shard, uint32_t bucket,
                      hs_shared_found_t found);
/* Frees the blocks of an unlinked entry. */
void hs_shared_free_entry(const hs_shared_t *shared, hs_shared_shard_t *shard, uint32_t number);

/* ---- Numbers. ---- */

#define HS_SHARED_SMALL ((uint64_t)1 << 62)

static inline bool hs_shared_is_small(uint64_t high)
{
    return high >> 62 == 1;
}

static inline double hs_shared_number_of(uint64_t bits)
{
    double number;
    memcpy(&number, &bits, sizeof(number));
    return number;
}

static inline uint64_t hs_shared_bits_of(double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof(bits));
    return bits;
}

/* The number of an entry, of which `high` was read before `low`. */
static inline double hs_shared_number(uint64_t high, uint64_t low)
{
    return hs_shared_is_small(high) ? (double)(int32_t)(uint32_t)high : hs_shared_number_of(low);
}

/* Whether a number is whole and small; not -0. */
static inline bool hs_shared_fits(double number, int32_t *small)
{
    if (!(number >= INT32_MIN && number <= INT32_MAX))
        return false;
    *small = (int32_t)number;
    return hs_shared_bits_of((double)*small) == hs_shared_bits_of(number);
}

/* Freezes a number: from here on it is in `low` and changes only under the lock. Its bits. */
static inline uint64_t hs_shared_freeze(hs_shared_entry_t *entry)
{
    uint64_t high = atomic_load(&entry->value.high);
    while (hs_shared_is_small(high)) {
        /* A reader ignores `low` until `high` has changed. */
        uint64_t bits = hs_shared_bits_of(hs_shared_number(high, 0));
        HS_SHARED_STORE(entry->value.low, bits);
        if (atomic_compare_exchange_weak(&entry->value.high, &high, 0))
            return bits;
    }
    /* Sequentially consistent: the number is read after the last change without the lock. */
    atomic_exchange(&entry->value.high, 0);
    return atomic_load(&entry->value.low);
}

/* The opposite, in the form that the number has. Under the lock. */
void hs_shared_thaw(hs_shared_shard_t *shard, hs_shared_entry_t *entry);

/* The word of a small number with `amount` added. False: the sum is not small, or maybe not. */
static HS_ALWAYS_INLINE bool hs_shared_plus(uint64_t high, double amount, uint64_t *changed)
{
    if (HS_UNLIKELY(!(amount >= INT32_MIN && amount <= INT32_MAX)))
        return false;
    int32_t whole = (int32_t)amount;
    int32_t sum;
    if (HS_UNLIKELY((double)whole != amount ||
                    __builtin_add_overflow((int32_t)(uint32_t)high, whole, &sum)))
        return false;
    *changed = (high & ~(uint64_t)UINT32_MAX) | (uint32_t)sum;
    return true;
}

/*
 * Where the small number of a short key was found, for callers that change it again and again:
 * valid as long as its stamp and the word of its bucket are unchanged. owner: one thread
 */
typedef struct hs_shared_hint {
    const hs_shared_t *shared; /* NULL: none */
    size_t key_len;
    char key[HS_SHARED_ENTRY_WORDS * 8];
    hs_shared_bucket_t *bucket;
    uint64_t word;
    hs_shared_entry_t *entry;
    uint64_t stamp; /* the upper half of value.high */
    _Atomic uint8_t *clock;
} hs_shared_hint_t;

/* hs_shared_incr, which fills the hint if hs_shared_add may be possible. */
hs_shared_result_t hs_shared_incr_hinting(hs_shared_t *shared, hs_shared_hint_t *hint,
                                          const char *key, size_t key_len, double amount,
                                          const double *initial, uint64_t ttl_ms, double *number,
                                          bool *was_forced);

/* Whether two keys of the same length are the same; of at most 24 bytes. */
static HS_ALWAYS_INLINE bool hs_shared_same_key(const char *a, const char *b, size_t len)
{
    if (len >= 16)
        return memcmp(a, b, 16) == 0 && memcmp(a + len - 8, b + len - 8, 8) == 0;
    if (len >= 8)
        return memcmp(a, b, 8) == 0 && memcmp(a + len - 8, b + len - 8, 8) == 0;
    if (len >= 4)
        return memcmp(a, b, 4) == 0 && memcmp(a + len - 4, b + len - 4, 4) == 0;
    return a[0] == b[0] && a[len / 2] == b[len / 2] && a[len - 1] == b[len - 1];
}

/*
 * Adds to a small number that does not expire. False: not possible with this hint. Stores nothing
 * before the compare-and-swap, which would wait for it.
 */
static HS_ALWAYS_INLINE bool hs_shared_add(const hs_shared_t *shared, const hs_shared_hint_t *hint,
                                           const char *key, size_t key_len, double amount,
                                           double *number)
{
    uint64_t changed;
    if (HS_UNLIKELY(hint->shared != shared || hint->key_len != key_len ||
                    !hs_shared_same_key(key, hint->key, key_len)))
        return false;
    uint64_t high = HS_SHARED_LOAD(hint->entry->value.high);
    /* It is the key's, if the bucket is unchanged after that; from here on the stamp tells. */
    if (HS_UNLIKELY(HS_SHARED_LOAD(hint->entry->expires_ms) != 0 ||
                    atomic_load_explicit(hint->bucket, memory_order_relaxed) != hint->word ||
                    high >> 32 != hint->stamp || !hs_shared_plus(high, amount, &changed) ||
                    !atomic_compare_exchange_strong(&hint->entry->value.high, &high, changed)))
        return false;
    hs_shared_touch(hint->clock);
    *number = (double)(int32_t)(uint32_t)changed;
    return true;
}

/* ---- Entries, under the lock (hs_shared_entries.c). ---- */

/* Turns a chain of blocks into an entry, not yet linked. */
void hs_shared_fill(const hs_shared_t *shared, hs_shared_shard_t *shard, uint32_t number,
                    const char *key, size_t key_len, const hs_shared_value_t *value,
                    uint64_t expires_ms);
/* Links it into its bucket, replacing `old` if that was found. */
void hs_shared_publish(const hs_shared_t *shared, const hs_shared_place_t *place,
                       hs_shared_found_t old, uint32_t number);
/* Blocks of an entry. */
uint32_t hs_shared_blocks_for(size_t key_len, const hs_shared_value_t *value);

uint64_t hs_shared_new_stamp(hs_shared_shard_t *shard);

static inline bool hs_shared_has_expired(const hs_shared_t *shared, uint64_t expires_ms)
{
    return expires_ms != 0 && expires_ms <= shared->now_ms();
}

static inline void hs_shared_count(hs_shared_word_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}
