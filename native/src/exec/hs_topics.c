#include "exec/hs_topics.h"

#include <pthread.h>
#include <sched.h>

#include "base/hs_alloc.h"
#include "os/hs_shm.h"
#include "os/hs_sock.h"

#define MAGIC 0x6d6f6f6e746f7069u /* "moontopi" */
#define VERSION 2
#define CELL_WORDS 8
#define CELL_SIZE (CELL_WORDS * 8)
#define RECORD_WORDS 4 /* before the topic */
#define MOST_CELLS (HS_TOPIC_RECORD_MAX / CELL_SIZE + 1)
/* Threads of a process that can publish concurrently; others wait for one of them. */
#define PUBLISHERS 8
#define FILTER_WORDS 8
/* Beyond this many reactors, several share a wake descriptor and are woken together.
 */
#define WAKEFDS_MAX 32
/* A message being written is committed soon. */
#define SPINS 64
/* In the index: cells of the message below, its position above. */
#define LENGTH_BITS 11

_Static_assert(MOST_CELLS < 1 << LENGTH_BITS, "the length of a record fits into the index");
_Static_assert((HS_TOPICS_SIZE_MIN / CELL_SIZE) >= 2 * MOST_CELLS, "several of the longest fit");
_Static_assert(HS_TOPIC_BUCKETS % 64 == 0 && FILTER_WORDS * 64 <= HS_TOPIC_BUCKETS,
               "a bucket has a bit of a filter");

/* Written once by the supervisor, read once when the ring is attached. */
typedef struct header {
    uint64_t magic;
    uint32_t version;
    uint32_t slots;
    uint32_t sides;
    uint32_t cells;
    uint32_t wakefds;
    char _pad[HS_CACHE_LINE - 28];
} header_t;

/* Writers: any process. The number of cells taken; defines the order of all messages. */
typedef struct head {
    _Atomic uint64_t next;
    char _pad[HS_CACHE_LINE - 8];
} head_t;

/* Writer: the side's process, unless noted otherwise. */
typedef struct side {
    /* Readers: publishers. Bit i: there is a subscriber of a bucket whose number is i modulo
     * 512. */
    _Atomic uint64_t filter[FILTER_WORDS];
    /* 0, or a position plus 1: the thread that stored it may have taken cells from that position on
     * without committing them. Readers: those that find uncommitted cells. */
    _Atomic uint64_t publishers[PUBLISHERS];
    _Atomic uint64_t published;
    _Atomic uint64_t delivered;
    _Atomic uint64_t lost;
    _Atomic uint64_t subscribers; /* those that there are now */
    char _pad[HS_CACHE_LINE - 32];
} side_t;

typedef struct slot {
    /* Bit 2 × side + waiter: it sleeps and must be woken. Set and cleared by it; cleared by the
     * publisher that wakes it. Sequentially consistent with the index: either a publisher sees that
     * it sleeps, or it sees the message. */
    _Atomic uint64_t armed;
    /* Of slot 0: the number of slots ever used. */
    _Atomic uint64_t used;
    char _pad[HS_CACHE_LINE - 16];
    side_t sides[HS_STATS_SIDES];
} slot_t;

typedef struct index_entry {
    /* The position, plus 1, of the message that begins in the cell, and its number of cells. Only
     * grows. Released with the message in the cells. */
    _Atomic uint64_t start;
    _Atomic uint64_t hash; /* of its topic */
} index_entry_t;

/* owner: the thread that created or attached it; the memory it points to is shared. Numbers are
 * copies: none read from there becomes an address. */
struct hs_topics {
    header_t *header;
    size_t size;
    uint32_t slot_count; /* with the supervisor's, which is the last one */
    uint32_t slot;
    uint32_t side;
    uint32_t wakefd_count;
    uint64_t mask; /* cells less one, a power of two */
    head_t *head;
    _Atomic uint64_t *counts; /* of the buckets */
    slot_t *slots;
    index_entry_t *index;
    _Atomic uint64_t *cells;
    int *fds; /* the memory, then the wake descriptors, then the supervisor's */
    size_t fd_count;

    pthread_mutex_t lock; /* of what follows */
    uint16_t wants[FILTER_WORDS * 64];
};

/* ---- Layout. ---- */

static size_t size_of(uint32_t slot_count, uint32_t cells)
{
    return sizeof(header_t) + sizeof(head_t) + HS_TOPIC_BUCKETS * sizeof(uint64_t) +
           slot_count * sizeof(slot_t) + (size_t)cells * (sizeof(index_entry_t) + CELL_SIZE);
}

static void lay_out(hs_topics_t *topics)
{
    topics->head = (head_t *)(void *)(topics->header + 1);
    topics->counts = (_Atomic uint64_t *)(void *)(topics->head + 1);
    topics->slots = (slot_t *)(void *)(topics->counts + HS_TOPIC_BUCKETS);
    topics->index = (index_entry_t *)(void *)(topics->slots + topics->slot_count);
    topics->cells = (_Atomic uint64_t *)(void *)(topics->index + topics->mask + 1);
}

static uint32_t wakefds_for(uint32_t slots)
{
    return (uint32_t)hs_min(slots, WAKEFDS_MAX) + 1;
}

/* Where the descriptors of the slot begin. */
static const int *wakefd_of(const hs_topics_t *topics, uint32_t slot)
{
    uint32_t number = slot == topics->slot_count - 1 ? topics->wakefd_count - 1
                                                     : slot % (topics->wakefd_count - 1);
    return topics->fds + 1 + (size_t)number * HS_WAKEFD_FDS;
}

static hs_topics_t *topics_alloc(uint32_t slots, uint32_t cells, hs_errinfo_t *error)
{
    hs_topics_t *topics = hs_alloc_zeroed(1, sizeof(*topics));
    uint32_t wakefds = wakefds_for(slots);
    size_t fd_count = 1 + (size_t)wakefds * HS_WAKEFD_FDS;
    int *fds = hs_alloc_zeroed(fd_count, sizeof(*fds));
    if (topics == NULL || fds == NULL) {
        hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for topics");
        hs_free(topics);
        hs_free(fds);
        return NULL;
    }
    for (size_t i = 0; i < fd_count; i++)
        fds[i] = -1;
    topics->fds = fds;
    topics->fd_count = fd_count;
    topics->slot_count = slots + 1;
    topics->slot = slots;
    topics->wakefd_count = wakefds;
    topics->mask = cells - 1;
    topics->size = size_of(topics->slot_count, cells);
    pthread_mutex_init(&topics->lock, NULL);
    return topics;
}

static bool map(hs_topics_t *topics, hs_errinfo_t *error)
{
    void *memory = NULL;
    int result = hs_shm_map(topics->fds[0], topics->size, &memory);
    if (result < 0) {
        hs_errinfo_set(error, HS_ERR_SYSTEM, -result, "cannot map the memory of topics: %s",
                       strerror(-result));
        return false;
    }
    topics->header = memory;
    lay_out(topics);
    return true;
}

static bool open_descriptors(hs_topics_t *topics, hs_errinfo_t *error)
{
    int result = topics->fds[0] = hs_shm_new(topics->size);
    for (size_t i = 1; result >= 0 && i < topics->fd_count; i += HS_WAKEFD_FDS)
        result = hs_wakefd_new(topics->fds + i);
    if (result < 0)
        hs_errinfo_set(error, HS_ERR_SYSTEM, -result, "cannot create the memory of topics: %s",
                       strerror(-result));
    return result >= 0;
}

hs_topics_t *hs_topics_new(uint32_t slots, size_t size, hs_errinfo_t *error)
{
    if (slots < 1 || slots > HS_STATS_SLOTS_MAX || !hs_is_power_of_two(size) ||
        size < HS_TOPICS_SIZE_MIN || size > HS_TOPICS_SIZE_MAX) {
        hs_errinfo_set(error, HS_ERR_INVALID, 0,
                       "topics take 1 to %d slots and a power of two from %u to %u bytes, not %u "
                       "and %zu",
                       HS_STATS_SLOTS_MAX, HS_TOPICS_SIZE_MIN, HS_TOPICS_SIZE_MAX, slots, size);
        return NULL;
    }
    hs_topics_t *topics = topics_alloc(slots, (uint32_t)(size / CELL_SIZE), error);
    if (topics == NULL)
        return NULL;
    if (!open_descriptors(topics, error) || !map(topics, error)) {
        hs_topics_free(topics);
        return NULL;
    }
    *topics->header = (header_t){
        .magic = MAGIC,
        .version = VERSION,
        .slots = slots,
        .sides = HS_STATS_SIDES,
        .cells = (uint32_t)(size / CELL_SIZE),
        .wakefds = topics->wakefd_count,
    };
    return topics;
}

static bool is_ours(const header_t *header, size_t size, size_t fd_count)
{
    return header->magic == MAGIC && header->version == VERSION &&
           header->sides == HS_STATS_SIDES && header->slots >= 1 &&
           header->slots <= HS_STATS_SLOTS_MAX && hs_is_power_of_two(header->cells) &&
           header->cells >= HS_TOPICS_SIZE_MIN / CELL_SIZE &&
           header->cells <= HS_TOPICS_SIZE_MAX / CELL_SIZE &&
           header->wakefds == wakefds_for(header->slots) &&
           fd_count == 1 + (size_t)header->wakefds * HS_WAKEFD_FDS &&
           size >= size_of(header->slots + 1, header->cells);
}

/* False: the memory is not that of topics of this version. */
static bool read_header(int fd, size_t fd_count, header_t *header)
{
    size_t size = hs_shm_size(fd);
    void *memory = NULL;
    if (size < sizeof(*header) || hs_shm_map(fd, sizeof(*header), &memory) < 0)
        return false;
    memcpy(header, memory, sizeof(*header));
    hs_shm_unmap(memory, sizeof(*header));
    return is_ours(header, size, fd_count);
}

static void close_all(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        hs_sock_close(fds[i]);
}

hs_topics_t *hs_topics_attach(const int *fds, size_t count, hs_errinfo_t *error)
{
    header_t header;
    if (count < 1 || !read_header(fds[0], count, &header)) {
        hs_errinfo_set(error, HS_ERR_INVALID, 0,
                       "the memory of topics is of another version: restart the master");
        close_all(fds, count);
        return NULL;
    }
    hs_topics_t *topics = topics_alloc(header.slots, header.cells, error);
    if (topics == NULL) {
        close_all(fds, count);
        return NULL;
    }
    memcpy(topics->fds, fds, count * sizeof(*fds));
    if (!map(topics, error)) {
        hs_topics_free(topics);
        return NULL;
    }
    return topics;
}

void hs_topics_free(hs_topics_t *topics)
{
    if (topics == NULL)
        return;
    if (topics->header != NULL)
        hs_shm_unmap(topics->header, topics->size);
    close_all(topics->fds, topics->fd_count);
    pthread_mutex_destroy(&topics->lock);
    hs_free(topics->fds);
    hs_free(topics);
}

const int *hs_topics_fds(const hs_topics_t *topics, size_t *count)
{
    *count = topics->fd_count;
    return topics->fds;
}

/* ---- Processes. ---- */

static side_t *own_side(const hs_topics_t *topics)
{
    return &topics->slots[topics->slot].sides[topics->side];
}

static uint64_t armed_bit(uint32_t side, hs_topics_waiter_t waiter)
{
    return (uint64_t)1 << (2 * side + waiter);
}

/* The slots that publishers check. */
static uint32_t used_slots(const hs_topics_t *topics)
{
    uint64_t used = atomic_load_explicit(&topics->slots[0].used, memory_order_acquire);
    return used < topics->slot_count - 1 ? (uint32_t)used : topics->slot_count - 1;
}

void hs_topics_reset(hs_topics_t *topics, uint32_t slot, uint32_t side)
{
    if (slot >= topics->slot_count || side >= HS_STATS_SIDES)
        return;
    side_t *gone = &topics->slots[slot].sides[side];
    for (unsigned i = 0; i < FILTER_WORDS; i++)
        atomic_store_explicit(&gone->filter[i], 0, memory_order_relaxed);
    for (unsigned i = 0; i < PUBLISHERS; i++)
        atomic_store_explicit(&gone->publishers[i], 0, memory_order_release);
    atomic_store_explicit(&gone->subscribers, 0, memory_order_relaxed);
    uint64_t bits = armed_bit(side, HS_TOPICS_IO) | armed_bit(side, HS_TOPICS_WORKERS);
    atomic_fetch_and_explicit(&topics->slots[slot].armed, ~bits, memory_order_relaxed);
}

int hs_topics_begin(hs_topics_t *topics, uint32_t slot, uint32_t side)
{
    if (slot >= topics->slot_count || side >= HS_STATS_SIDES)
        return HS_ERR_INVALID;
    topics->slot = slot;
    topics->side = side;
    hs_topics_reset(topics, slot, side);
    _Atomic uint64_t *used = &topics->slots[0].used;
    uint64_t before = atomic_load_explicit(used, memory_order_relaxed);
    while (slot < topics->slot_count - 1 && before <= slot &&
           !atomic_compare_exchange_weak_explicit(used, &before, (uint64_t)slot + 1,
                                                  memory_order_acq_rel, memory_order_relaxed))
        continue;
    return HS_OK;
}

void hs_topics_note(hs_topics_t *topics, uint64_t delivered, uint64_t lost)
{
    side_t *side = own_side(topics);
    atomic_fetch_add_explicit(&side->delivered, delivered, memory_order_relaxed);
    if (lost > 0)
        atomic_fetch_add_explicit(&side->lost, lost, memory_order_relaxed);
}

void hs_topics_note_subscriber(hs_topics_t *topics, bool is_new)
{
    _Atomic uint64_t *subscribers = &own_side(topics)->subscribers;
    if (is_new)
        atomic_fetch_add_explicit(subscribers, 1, memory_order_relaxed);
    else
        atomic_fetch_sub_explicit(subscribers, 1, memory_order_relaxed);
}

void hs_topics_read_counters(hs_topics_t *topics, uint32_t slot, hs_topics_counters_t *out)
{
    *out = (hs_topics_counters_t){ 0 };
    for (uint32_t i = 0; slot < topics->slot_count && i < HS_STATS_SIDES; i++) {
        side_t *side = &topics->slots[slot].sides[i];
        out->published += atomic_load_explicit(&side->published, memory_order_relaxed);
        out->delivered += atomic_load_explicit(&side->delivered, memory_order_relaxed);
        out->lost += atomic_load_explicit(&side->lost, memory_order_relaxed);
        out->subscribers += atomic_load_explicit(&side->subscribers, memory_order_relaxed);
    }
}

/* ---- Records. Words of cells are atomic because a reader may read cells being overwritten; it
 * detects that by the head, which moves first. Hence they are released and acquired. ---- */

static uint64_t hash_of(hs_span_t topic)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < topic.len; i++)
        hash = (hash ^ (unsigned char)topic.data[i]) * 0x100000001b3u;
    return hash ^ hash >> 32;
}

static uint32_t bucket_of(uint64_t hash)
{
    return (uint32_t)(hash % HS_TOPIC_BUCKETS);
}

uint32_t hs_topic_bucket(hs_span_t topic)
{
    return bucket_of(hash_of(topic));
}

typedef struct checksum {
    uint64_t sum;
    uint64_t mixed;
} checksum_t;

static inline void checksum_add(checksum_t *checksum, uint64_t word)
{
    checksum->sum += word;
    checksum->mixed = (checksum->mixed << 13 | checksum->mixed >> 51) + checksum->sum;
}

static uint64_t checksum_end(checksum_t checksum, uint64_t position)
{
    checksum_add(&checksum, position);
    return checksum.sum ^ checksum.mixed * 0x9e3779b97f4a7c15u;
}

/* owner: a publisher, on its stack */
typedef struct writer {
    _Atomic uint64_t *cells;
    uint64_t mask; /* words less one */
    uint64_t next; /* number of the next word */
    checksum_t checksum;
} writer_t;

static inline void put_word(writer_t *writer, uint64_t word)
{
    atomic_store_explicit(&writer->cells[writer->next & writer->mask], word, memory_order_release);
    writer->next++;
    checksum_add(&writer->checksum, word);
}

static void put_bytes(writer_t *writer, hs_span_t bytes)
{
    size_t i = 0;
    uint64_t word;
    for (; i + 8 <= bytes.len; i += 8) {
        memcpy(&word, bytes.data + i, 8);
        put_word(writer, word);
    }
    if (i < bytes.len) {
        word = 0;
        memcpy(&word, bytes.data + i, bytes.len - i);
        put_word(writer, word);
    }
}

static uint32_t words_of(size_t len)
{
    return (uint32_t)((len + 7) / 8);
}

/* ---- Publishing. ---- */

/* Announces that this thread takes cells from the current head on. */
static _Atomic uint64_t *begin_publishing(hs_topics_t *topics)
{
    side_t *side = own_side(topics);
    for (;;) {
        uint64_t from = atomic_load_explicit(&topics->head->next, memory_order_relaxed) + 1;
        for (unsigned i = 0; i < PUBLISHERS; i++) {
            uint64_t none = 0;
            if (atomic_compare_exchange_strong_explicit(&side->publishers[i], &none, from,
                                                        memory_order_acq_rel, memory_order_relaxed))
                return &side->publishers[i];
        }
        (void)sched_yield();
    }
}

/* The index only grows: a publisher overtaken by the ring changes nothing. */
static void commit(index_entry_t *entry, uint64_t position, uint32_t cells)
{
    uint64_t start = (position + 1) << LENGTH_BITS | cells;
    uint64_t before = atomic_load_explicit(&entry->start, memory_order_relaxed);
    while (before < start &&
           !atomic_compare_exchange_weak_explicit(&entry->start, &before, start,
                                                  memory_order_seq_cst, memory_order_relaxed))
        continue;
}

static bool wants(const slot_t *slot, uint64_t armed, uint32_t bucket)
{
    for (uint32_t side = 0; side < HS_STATS_SIDES; side++) {
        uint64_t bits = armed_bit(side, HS_TOPICS_IO) | armed_bit(side, HS_TOPICS_WORKERS);
        const _Atomic uint64_t *word = &slot->sides[side].filter[bucket / 64 % FILTER_WORDS];
        if ((armed & bits) != 0 &&
            (atomic_load_explicit(word, memory_order_relaxed) >> (bucket % 64) & 1) != 0)
            return true;
    }
    return false;
}

static void wake_slot(hs_topics_t *topics, uint32_t number, uint32_t bucket)
{
    slot_t *slot = &topics->slots[number];
    uint64_t armed = atomic_load_explicit(&slot->armed, memory_order_seq_cst);
    if (HS_LIKELY(armed == 0) || !wants(slot, armed, bucket))
        return;
    /* One publisher sends the signal to all sleepers in the slot. */
    if (atomic_exchange_explicit(&slot->armed, 0, memory_order_seq_cst) != 0)
        hs_wakefd_signal(wakefd_of(topics, number));
}

int hs_topics_post(hs_topics_t *topics, hs_span_t topic, hs_span_t message)
{
    if (topic.len < 1 || topic.len > HS_TOPIC_MAX)
        return HS_ERR_INVALID;
    if (message.len > HS_TOPIC_MESSAGE_MAX)
        return HS_ERR_LIMIT;
    uint64_t hash = hash_of(topic);
    uint32_t words = RECORD_WORDS + words_of(topic.len) + words_of(message.len);
    uint32_t cells = (words + CELL_WORDS - 1) / CELL_WORDS;
    _Atomic uint64_t *publisher = begin_publishing(topics);
    uint64_t number =
        atomic_fetch_add_explicit(&topics->counts[bucket_of(hash)], 1, memory_order_relaxed);
    uint64_t position = atomic_fetch_add_explicit(&topics->head->next, cells, memory_order_seq_cst);
    writer_t writer = { .cells = topics->cells,
                        .mask = (topics->mask + 1) * CELL_WORDS - 1,
                        .next = position * CELL_WORDS + 1 };
    put_word(&writer, (uint64_t)topic.len << 32 | message.len);
    put_word(&writer, hash);
    put_word(&writer, number);
    put_bytes(&writer, topic);
    put_bytes(&writer, message);
    uint64_t first = position * CELL_WORDS & writer.mask;
    atomic_store_explicit(&topics->cells[first], checksum_end(writer.checksum, position),
                          memory_order_release);
    index_entry_t *entry = &topics->index[position & topics->mask];
    atomic_store_explicit(&entry->hash, hash, memory_order_release);
    commit(entry, position, cells);
    atomic_store_explicit(publisher, 0, memory_order_release);
    atomic_fetch_add_explicit(&own_side(topics)->published, 1, memory_order_relaxed);
    uint32_t used = used_slots(topics);
    for (uint32_t i = 0; i < used; i++)
        wake_slot(topics, i, bucket_of(hash));
    wake_slot(topics, topics->slot_count - 1, bucket_of(hash));
    return HS_OK;
}

/* ---- Reading. ---- */

uint64_t hs_topics_head(hs_topics_t *topics)
{
    return atomic_load_explicit(&topics->head->next, memory_order_seq_cst);
}

uint64_t hs_topics_count(hs_topics_t *topics, uint32_t bucket)
{
    return atomic_load_explicit(&topics->counts[bucket % HS_TOPIC_BUCKETS], memory_order_relaxed);
}

void hs_topic_reader_init(hs_topic_reader_t *reader, hs_topics_t *topics)
{
    memset(reader, 0, offsetof(hs_topic_reader_t, record));
    reader->topics = topics;
    hs_topic_reader_skip(reader);
}

void hs_topic_reader_skip(hs_topic_reader_t *reader)
{
    reader->next = hs_topics_head(reader->topics);
    reader->stalled_ms = 0;
    reader->distrust_until = 0;
}

static index_entry_t *entry_of(const hs_topic_reader_t *reader, uint64_t position)
{
    return &reader->topics->index[position & reader->topics->mask];
}

/* Whether a live publisher may have taken the cell without committing it. */
static bool may_be_committed(const hs_topics_t *topics, uint64_t position)
{
    uint32_t used = used_slots(topics);
    for (uint32_t i = 0; i <= used; i++) {
        const slot_t *slot = &topics->slots[i < used ? i : topics->slot_count - 1];
        for (uint32_t side = 0; side < HS_STATS_SIDES; side++)
            for (unsigned p = 0; p < PUBLISHERS; p++) {
                uint64_t from =
                    atomic_load_explicit(&slot->sides[side].publishers[p], memory_order_acquire);
                if (from != 0 && from - 1 <= position)
                    return true;
            }
    }
    return false;
}

/* The next cell is taken, and its last seen index value, `start`, is not the message: true if there
 * never will be one. */
static bool is_abandoned(hs_topic_reader_t *reader, uint64_t start, uint64_t now_ms)
{
    const index_entry_t *entry = entry_of(reader, reader->next);
    for (int i = 0; i < SPINS; i++)
        if (atomic_load_explicit(&entry->start, memory_order_acquire) != start)
            return false;
    if (reader->next < reader->distrust_until)
        return true;
    if (!may_be_committed(reader->topics, reader->next))
        return atomic_load_explicit(&entry->start, memory_order_acquire) == start;
    if (reader->stalled_ms == 0 || reader->stalled_at != reader->next) {
        reader->stalled_at = reader->next;
        reader->stalled_ms = now_ms;
    }
    if (now_ms - reader->stalled_ms < HS_TOPICS_STALL_MS)
        return false;
    reader->distrust_until = hs_topics_head(reader->topics);
    return true;
}

static uint64_t word_at(const hs_topic_reader_t *reader, uint64_t number)
{
    uint64_t mask = (reader->topics->mask + 1) * CELL_WORDS - 1;
    return atomic_load_explicit(&reader->topics->cells[number & mask], memory_order_acquire);
}

/* Copies the record at the reader's position. False: it is torn, or overwritten. */
static bool copy_record(hs_topic_reader_t *reader, uint32_t cells, hs_topic_message_t *message)
{
    uint64_t position = reader->next;
    uint64_t first = position * CELL_WORDS;
    checksum_t checksum = { 0 };
    uint64_t *record = reader->record;
    for (uint32_t i = 0; i < RECORD_WORDS; i++)
        record[i] = word_at(reader, first + i);
    uint64_t topic_len = record[1] >> 32;
    uint64_t message_len = record[1] & UINT32_MAX;
    if (topic_len < 1 || topic_len > HS_TOPIC_MAX || message_len > HS_TOPIC_MESSAGE_MAX)
        return false;
    uint32_t words = RECORD_WORDS + words_of(topic_len) + words_of(message_len);
    if ((words + CELL_WORDS - 1) / CELL_WORDS != cells)
        return false;
    for (uint32_t i = 1; i < words; i++) {
        if (i >= RECORD_WORDS)
            record[i] = word_at(reader, first + i);
        checksum_add(&checksum, record[i]);
    }
    if (record[0] != checksum_end(checksum, position) ||
        hs_topics_head(reader->topics) - position > reader->topics->mask + 1)
        return false;
    const char *text = (const char *)(record + RECORD_WORDS);
    *message = (hs_topic_message_t){
        .topic = hs_span(text, topic_len),
        .message = hs_span(text + (size_t)words_of(topic_len) * 8, message_len),
        .position = position,
        .number = record[3],
        .bucket = bucket_of(record[2]),
    };
    return true;
}

static bool is_wanted(const hs_topic_reader_t *reader, uint32_t bucket)
{
    return (reader->wanted[bucket / 64] >> (bucket % 64) & 1) != 0;
}

/* Skips what was overwritten, and a little more, so that publishers do not overtake again at once.
 */
static void catch_up(hs_topic_reader_t *reader, uint64_t head)
{
    uint64_t cells = reader->topics->mask + 1;
    reader->next = head - cells + cells / 8;
    reader->gaps++;
}

hs_topic_read_t hs_topic_reader_next(hs_topic_reader_t *reader, uint64_t now_ms, uint32_t *steps,
                                     hs_topic_message_t *message)
{
    for (; *steps > 0; (*steps)--) {
        uint64_t head = hs_topics_head(reader->topics);
        if (head == reader->next)
            return HS_TOPIC_NONE;
        if (head - reader->next > reader->topics->mask + 1) {
            catch_up(reader, head);
            continue;
        }
        index_entry_t *entry = entry_of(reader, reader->next);
        uint64_t start = atomic_load_explicit(&entry->start, memory_order_acquire);
        uint32_t cells = (uint32_t)(start & ((1u << LENGTH_BITS) - 1));
        if (start >> LENGTH_BITS != reader->next + 1) {
            if (start >> LENGTH_BITS > reader->next + 1) {
                /* Damaged, or just overtaken: by a single cell, the head no longer tells. */
                reader->next++;
                reader->gaps++;
            } else if (is_abandoned(reader, start, now_ms))
                reader->next++;
            else if (atomic_load_explicit(&entry->start, memory_order_acquire) == start)
                return HS_TOPIC_STALLED;
            continue;
        }
        reader->stalled_ms = 0;
        if (cells < 1 || cells > MOST_CELLS || cells > head - reader->next) {
            reader->next++;
            continue;
        }
        uint64_t hash = atomic_load_explicit(&entry->hash, memory_order_acquire);
        bool is_read = is_wanted(reader, bucket_of(hash)) && copy_record(reader, cells, message);
        bool is_lost = !is_read && is_wanted(reader, bucket_of(hash));
        reader->gaps += is_lost;
        reader->next += cells;
        if (is_read && is_wanted(reader, message->bucket))
            return HS_TOPIC_MESSAGE;
    }
    return HS_TOPIC_MORE;
}

/* ---- Waiting. ---- */

static void set_want(hs_topics_t *topics, uint32_t bucket, int change)
{
    uint32_t number = bucket % (FILTER_WORDS * 64);
    _Atomic uint64_t *word = &own_side(topics)->filter[number / 64];
    uint64_t bit = (uint64_t)1 << (number % 64);
    pthread_mutex_lock(&topics->lock);
    uint16_t before = topics->wants[number];
    if (!(change < 0 && before == 0) && !(change > 0 && before == UINT16_MAX))
        topics->wants[number] = (uint16_t)(before + change);
    if (topics->wants[number] == 0)
        atomic_fetch_and_explicit(word, ~bit, memory_order_relaxed);
    else if (before == 0)
        atomic_fetch_or_explicit(word, bit, memory_order_seq_cst);
    pthread_mutex_unlock(&topics->lock);
}

void hs_topics_want(hs_topics_t *topics, uint32_t bucket)
{
    set_want(topics, bucket, 1);
}

void hs_topics_unwant(hs_topics_t *topics, uint32_t bucket)
{
    set_want(topics, bucket, -1);
}

const int *hs_topics_wakefd(const hs_topics_t *topics)
{
    return wakefd_of(topics, topics->slot);
}

bool hs_topics_arm(hs_topic_reader_t *reader, hs_topics_waiter_t waiter)
{
    hs_topics_t *topics = reader->topics;
    atomic_fetch_or_explicit(&topics->slots[topics->slot].armed, armed_bit(topics->side, waiter),
                             memory_order_seq_cst);
    if (hs_topics_head(topics) == reader->next)
        return false;
    const index_entry_t *entry = entry_of(reader, reader->next);
    uint64_t start = atomic_load_explicit(&entry->start, memory_order_seq_cst) >> LENGTH_BITS;
    bool is_committed = start >= reader->next + 1;
    if (is_committed)
        hs_topics_disarm(reader, waiter);
    return is_committed;
}

void hs_topics_disarm(hs_topic_reader_t *reader, hs_topics_waiter_t waiter)
{
    hs_topics_t *topics = reader->topics;
    if (waiter == HS_TOPICS_IO)
        atomic_fetch_and_explicit(&topics->slots[topics->slot].armed,
                                  ~armed_bit(topics->side, waiter), memory_order_relaxed);
}

void hs_topics_wait(hs_topics_t *topics, int timeout_ms)
{
    hs_wakefd_wait(hs_topics_wakefd(topics), timeout_ms);
}

void hs_topics_wake(hs_topics_t *topics)
{
    hs_wakefd_signal(hs_topics_wakefd(topics));
}
