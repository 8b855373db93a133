#include "shared/hs_shared.h"

#include <errno.h>
#include <string.h>

#include "base/hs_alloc.h"
#include "os/hs_clock.h"
#include "os/hs_entropy.h"
#include "os/hs_shm.h"
#include "os/hs_sock.h"

#define MAGIC 0x6d6f6f6e64696374u /* "moondict" */
#define VERSION 2
/* The minimum of a shard. */
#define BLOCKS_MIN 16

static size_t round_up(size_t size, size_t multiple)
{
    return (size + multiple - 1) / multiple * multiple;
}

static size_t shard_needs(hs_shared_t *shared, uint32_t blocks)
{
    shared->blocks = blocks;
    shared->buckets = blocks / 2;
    shared->clock_offset = sizeof(hs_shared_shard_t) + shared->buckets * sizeof(hs_shared_bucket_t);
    shared->marks_offset = round_up(shared->clock_offset + blocks, 8);
    shared->blocks_offset =
        round_up(shared->marks_offset + ((size_t)blocks + 63) / 64 * 8, HS_CACHE_LINE);
    return shared->blocks_offset + (size_t)blocks * HS_SHARED_BLOCK;
}

bool hs_shared_layout(hs_shared_t *shared, size_t size)
{
    if (size < sizeof(hs_shared_header_t) + HS_SHARED_SHARDS * HS_CACHE_LINE)
        return false;
    size_t shard_size =
        (size - sizeof(hs_shared_header_t)) / HS_SHARED_SHARDS / HS_CACHE_LINE * HS_CACHE_LINE;
    size_t blocks = shard_size / HS_SHARED_BLOCK;
    if (blocks > UINT32_MAX / 2)
        return false;
    /* Each block has some overhead. */
    blocks -= blocks / 13;
    while (blocks >= BLOCKS_MIN && shard_needs(shared, (uint32_t)blocks) > shard_size)
        blocks--;
    shared->size = size;
    shared->shard_size = shard_size;
    shared->value_blocks = (uint32_t)blocks / 2;
    return blocks >= BLOCKS_MIN;
}

int hs_shared_format(hs_shared_t *shared)
{
    shared->seed[0] = hs_entropy();
    shared->seed[1] = hs_entropy();
    for (uint32_t i = 0; i < HS_SHARED_SHARDS; i++) {
        hs_shared_shard_t *shard = hs_shared_shard(shared, i);
        int failed = hs_shlock_init(&shard->lock);
        if (failed < 0)
            return failed;
        atomic_init(&shard->free_count, shared->blocks);
        atomic_init(&shard->stamp, hs_entropy());
    }
    *(hs_shared_header_t *)(void *)shared->memory = (hs_shared_header_t){
        .magic = MAGIC,
        .version = VERSION,
        .shards = HS_SHARED_SHARDS,
        .size = shared->size,
        .seed = { shared->seed[0], shared->seed[1] },
        .buckets = shared->buckets,
        .blocks = shared->blocks,
        .shard_size = shared->shard_size,
    };
    return 0;
}

bool hs_shared_recognise(hs_shared_t *shared)
{
    const hs_shared_header_t header = *(const hs_shared_header_t *)(void *)shared->memory;
    shared->seed[0] = header.seed[0];
    shared->seed[1] = header.seed[1];
    return header.magic == MAGIC && header.version == VERSION &&
           header.shards == HS_SHARED_SHARDS && header.size == shared->size &&
           header.buckets == shared->buckets && header.blocks == shared->blocks &&
           header.shard_size == shared->shard_size;
}

/* Maps `fd`, which the dictionary takes over; closes it on failure. */
static hs_shared_t *map(const char *name, int fd, size_t size, hs_errinfo_t *error)
{
    hs_shared_t *shared = hs_alloc_zeroed(1, sizeof(*shared));
    void *memory = NULL;
    int result = shared == NULL ? -ENOMEM : 0;
    if (result == 0 && !hs_shared_layout(shared, size))
        result = -EINVAL;
    if (result == 0)
        result = hs_shm_map(fd, size, &memory);
    if (result < 0) {
        hs_errinfo_set(error, HS_ERR_SYSTEM, -result,
                       "cannot map %zu bytes of shared memory for "
                       "%s: %s",
                       size, name, strerror(-result));
        hs_free(shared);
        hs_sock_close(fd);
        return NULL;
    }
    snprintf(shared->name, sizeof(shared->name), "%s", name);
    shared->fd = fd;
    shared->memory = memory;
    shared->now_ms = hs_clock_monotonic_ms;
    return shared;
}

hs_shared_t *hs_shared_new(const char *name, size_t size, hs_errinfo_t *error)
{
    int fd = hs_shm_new(size);
    if (fd < 0) {
        hs_errinfo_set(error, HS_ERR_SYSTEM, -fd,
                       "cannot create %zu bytes of shared memory for %s: "
                       "%s",
                       size, name, strerror(-fd));
        return NULL;
    }
    hs_shared_t *shared = map(name, fd, size, error);
    int failed = shared == NULL ? 0 : hs_shared_format(shared);
    if (failed == 0)
        return shared;
    hs_errinfo_set(error, HS_ERR_SYSTEM, -failed, "cannot create locks for %s: %s", name,
                   strerror(-failed));
    hs_shared_free(shared);
    return NULL;
}

hs_shared_t *hs_shared_map(const char *name, int fd, hs_errinfo_t *error)
{
    hs_shared_t *shared = map(name, fd, hs_shm_size(fd), error);
    if (shared == NULL || hs_shared_recognise(shared))
        return shared;
    hs_errinfo_set(error, HS_ERR_INVALID, 0,
                   "the shared memory of %s is no dictionary of this version: restart the master",
                   name);
    hs_shared_free(shared);
    return NULL;
}

static hs_shared_t *report(hs_shared_t *shared, const hs_errinfo_t *info, char *error,
                           size_t error_size)
{
    if (shared == NULL && error != NULL && error_size > 0)
        snprintf(error, error_size, "%s", info->text);
    return shared;
}

hs_shared_t *hs_shared_create(const char *name, size_t size, char *error, size_t error_size)
{
    hs_errinfo_t info = { 0 };
    return report(hs_shared_new(name, size, &info), &info, error, error_size);
}

hs_shared_t *hs_shared_attach(const char *name, int fd, char *error, size_t error_size)
{
    hs_errinfo_t info = { 0 };
    return report(hs_shared_map(name, fd, &info), &info, error, error_size);
}

int hs_shared_fd(const hs_shared_t *shared)
{
    return shared->fd;
}

void hs_shared_free(hs_shared_t *shared)
{
    if (shared == NULL)
        return;
    hs_shm_unmap(shared->memory, shared->size);
    hs_sock_close(shared->fd);
    hs_free(shared);
}

size_t hs_shared_value_max(const hs_shared_t *shared)
{
    return ((size_t)(shared->value_blocks - 1) * HS_SHARED_DATA_WORDS + HS_SHARED_ENTRY_WORDS) * 8;
}

void hs_shared_read_stats(hs_shared_t *shared, hs_shared_stats_t *stats)
{
    *stats = (hs_shared_stats_t){ .size = shared->size };
    for (uint32_t i = 0; i < HS_SHARED_SHARDS; i++) {
        hs_shared_shard_t *shard = hs_shared_shard(shared, i);
        uint64_t free_count = HS_SHARED_LOAD(shard->free_count);
        if (free_count > shared->blocks)
            free_count = shared->blocks;
        stats->free += free_count * HS_SHARED_BLOCK;
        stats->used += (shared->blocks - free_count) * HS_SHARED_BLOCK;
        stats->entries += HS_SHARED_LOAD(shard->entries);
        stats->evictions += HS_SHARED_LOAD(shard->evictions);
        stats->expirations += HS_SHARED_LOAD(shard->expirations);
        stats->refusals += HS_SHARED_LOAD(shard->refusals);
        stats->repairs += HS_SHARED_LOAD(shard->repairs);
    }
}
