/*
 * Cached files: descriptors, metadata and, for small files, the content.
 *
 *   resource   what a path leads to: a file and its precompressed siblings, or a directory
 *   file       one of these, open or in memory
 *
 * A resource is trusted for HS_FILE_CACHE_FRESH_MS, then its files are checked again
 * (exec/hs_static.c); unchanged ones stay in use. All three bounds evict the least recently used. A
 * file outlives its resource as long as a response is sent from it.
 *
 * Owner: the creator of the cache; one thread at a time, except hs_file_release.
 */
#pragma once

#include <stdatomic.h>

#include "data/hs_buf.h"
#include "data/hs_list.h"
#include "http/hs_accept_encoding.h"
#include "os/hs_beneath.h"

#define HS_FILE_CACHE_FRESH_MS 1000
#define HS_FILE_CACHE_RESOURCES 4096
#define HS_FILE_CACHE_DESCRIPTORS 512
#define HS_FILE_CACHE_BYTES ((size_t)32 * 1024 * 1024)
/* Files up to this size are kept in memory. */
#define HS_FILE_CACHE_FILE_BYTES ((size_t)64 * 1024)

/* owner: cache; the loop's thread reads `data` and constant members while it is sent */
typedef struct hs_file {
    /* References: the resource, and responses. Added by the cache's thread, dropped by any (the
     * last one frees): acquire and release. */
    _Atomic uint32_t users;
    int fd;        /* -1: all of it is in `data` */
    char *data;    /* NULL: it is sent from `fd` */
    bool was_used; /* used once: at the second use a small file is read into memory */
    hs_file_info_t info;
    uint64_t resident;    /* up to here it is in the page cache, as of ... */
    uint64_t resident_ms; /* ... this time; 0: not checked */
    int64_t modified_s;   /* as in Last-Modified; HS_MODIFIED_UNKNOWN */
    hs_buf_t head;        /* lines of the response */
    size_t brief_len;     /* of these, the ones in a 304 too */
    size_t etag_at;       /* in `head` */
    size_t etag_len;
} hs_file_t;

typedef enum hs_resource_kind {
    HS_RESOURCE_FILE,
    HS_RESOURCE_DIRECTORY, /* requested with its slash, without an index */
    HS_RESOURCE_UNSLASHED, /* a directory, requested without its slash */
} hs_resource_kind_t;

/* owner: cache */
typedef struct hs_resource {
    hs_list_t used; /* in the cache's list */
    struct hs_resource *next;
    const void *owner; /* whose path it is */
    uint64_t hash;
    uint64_t checked_ms;
    hs_resource_kind_t kind;
    hs_file_t *files[HS_CODINGS]; /* FILE; NULL: there is none of this coding */
    char *name;                   /* FILE that may have siblings: its own */
    bool looked_for;              /* siblings were checked: when a client first accepts one */
    unsigned offered;             /* codings other than identity: HS_CODING_BIT */
    size_t path_len;
    char path[];
} hs_resource_t;

#define HS_FILE_CACHE_BUCKETS 1024

typedef struct hs_file_cache {
    hs_resource_t *buckets[HS_FILE_CACHE_BUCKETS];
    hs_list_t used; /* the most recently used at the end */
    size_t resources;
    size_t descriptors;
    size_t bytes;
    const hs_resource_t *in_use; /* is not evicted; NULL: none */
} hs_file_cache_t;

void hs_file_cache_init(hs_file_cache_t *cache);
void hs_file_cache_clear(hs_file_cache_t *cache);

/* The resource of a path, fresh or not; NULL. It counts as used. */
hs_resource_t *hs_file_cache_find(hs_file_cache_t *cache, const void *owner, hs_span_t path);

/* A new resource, in the cache, without files. NULL: out of memory. */
HS_NODISCARD hs_resource_t *hs_file_cache_add(hs_file_cache_t *cache, const void *owner,
                                              hs_span_t path);

void hs_file_cache_remove(hs_file_cache_t *cache, hs_resource_t *resource);
void hs_file_cache_remove_all_of(hs_file_cache_t *cache, const void *owner);

/* Adds a file to the resource: takes over `fd`, even if this fails. NULL: out of memory. */
HS_NODISCARD hs_file_t *hs_file_cache_put(hs_file_cache_t *cache, hs_resource_t *resource,
                                          hs_coding_t coding, int fd, const hs_file_info_t *info);

/* Removes it from the resource. */
void hs_file_cache_drop(hs_file_cache_t *cache, hs_resource_t *resource, hs_coding_t coding);

/* Reads a small file into memory if that does not block, and closes its descriptor. */
void hs_file_cache_load(hs_file_cache_t *cache, hs_file_t *file);

/* Evicts the least recently used until all bounds hold. */
void hs_file_cache_trim(hs_file_cache_t *cache);

/* Closes descriptors that no response needs, because the process has run out of them. */
void hs_file_cache_give_way(hs_file_cache_t *cache);

static inline void hs_file_take(hs_file_t *file)
{
    atomic_fetch_add_explicit(&file->users, 1, memory_order_relaxed);
}

/* Any thread. */
void hs_file_release(hs_file_t *file);
