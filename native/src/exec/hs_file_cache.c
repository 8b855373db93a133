#include "exec/hs_file_cache.h"

#include "os/hs_page_cache.h"

void hs_file_cache_init(hs_file_cache_t *cache)
{
    *cache = (hs_file_cache_t){ 0 };
    hs_list_init(&cache->used);
}

void hs_file_release(hs_file_t *file)
{
    if (atomic_fetch_sub_explicit(&file->users, 1, memory_order_acq_rel) != 1)
        return;
    hs_file_close(file->fd);
    hs_free(file->data);
    hs_buf_free(&file->head);
    hs_free(file);
}

/* FNV-1a over words: paths are short, and the buckets are few. */
static uint64_t hash_of(const void *owner, hs_span_t path)
{
    const uint64_t prime = UINT64_C(0x100000001b3);
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ (uintptr_t)owner;
    size_t at = 0;
    for (uint64_t word; path.len - at >= sizeof(word); at += sizeof(word)) {
        memcpy(&word, path.data + at, sizeof(word));
        hash = (hash ^ word) * prime;
        hash ^= hash >> 32;
    }
    for (; at < path.len; at++)
        hash = (hash ^ (unsigned char)path.data[at]) * prime;
    return hash ^ hash >> 29;
}

static hs_resource_t **bucket_of(hs_file_cache_t *cache, uint64_t hash)
{
    return &cache->buckets[hash % HS_FILE_CACHE_BUCKETS];
}

hs_resource_t *hs_file_cache_find(hs_file_cache_t *cache, const void *owner, hs_span_t path)
{
    uint64_t hash = hash_of(owner, path);
    for (hs_resource_t *found = *bucket_of(cache, hash); found != NULL; found = found->next) {
        if (found->hash != hash || found->owner != owner ||
            !hs_span_equals(hs_span(found->path, found->path_len), path))
            continue;
        hs_list_remove(&found->used);
        hs_list_push_back(&cache->used, &found->used);
        return found;
    }
    return NULL;
}

hs_resource_t *hs_file_cache_add(hs_file_cache_t *cache, const void *owner, hs_span_t path)
{
    hs_resource_t *added = hs_alloc_zeroed(1, sizeof(*added) + path.len);
    if (added == NULL)
        return NULL;
    added->owner = owner;
    added->hash = hash_of(owner, path);
    added->path_len = path.len;
    memcpy(added->path, path.data, path.len);
    hs_resource_t **bucket = bucket_of(cache, added->hash);
    added->next = *bucket;
    *bucket = added;
    hs_list_init(&added->used);
    hs_list_push_back(&cache->used, &added->used);
    cache->resources++;
    return added;
}

void hs_file_cache_drop(hs_file_cache_t *cache, hs_resource_t *resource, hs_coding_t coding)
{
    hs_file_t *file = resource->files[coding];
    if (file == NULL)
        return;
    resource->files[coding] = NULL;
    if (file->data != NULL)
        cache->bytes -= file->info.size;
    else
        cache->descriptors--;
    hs_file_release(file);
}

void hs_file_cache_remove(hs_file_cache_t *cache, hs_resource_t *resource)
{
    hs_resource_t **link = bucket_of(cache, resource->hash);
    while (*link != resource)
        link = &(*link)->next;
    *link = resource->next;
    hs_list_remove(&resource->used);
    cache->resources--;
    for (hs_coding_t coding = HS_CODING_IDENTITY; coding < HS_CODINGS; coding++)
        hs_file_cache_drop(cache, resource, coding);
    hs_free(resource->name);
    hs_free(resource);
}

void hs_file_cache_remove_all_of(hs_file_cache_t *cache, const void *owner)
{
    hs_list_t *next;
    for (hs_list_t *node = cache->used.next; node != &cache->used; node = next) {
        next = node->next;
        hs_resource_t *resource = HS_CONTAINER_OF(node, hs_resource_t, used);
        if (resource->owner == owner)
            hs_file_cache_remove(cache, resource);
    }
}

void hs_file_cache_clear(hs_file_cache_t *cache)
{
    while (!hs_list_empty(&cache->used))
        hs_file_cache_remove(cache, HS_CONTAINER_OF(cache->used.next, hs_resource_t, used));
    HS_ASSERT(cache->resources == 0 && cache->descriptors == 0 && cache->bytes == 0);
}

hs_file_t *hs_file_cache_put(hs_file_cache_t *cache, hs_resource_t *resource, hs_coding_t coding,
                             int fd, const hs_file_info_t *info)
{
    hs_file_t *file = hs_alloc_zeroed(1, sizeof(*file));
    if (file == NULL) {
        hs_file_close(fd);
        return NULL;
    }
    file->fd = fd;
    file->info = *info;
    atomic_init(&file->users, 1);
    resource->files[coding] = file;
    cache->descriptors++;
    return file;
}

void hs_file_cache_load(hs_file_cache_t *cache, hs_file_t *file)
{
    size_t size = (size_t)file->info.size;
    if (file->data != NULL || size == 0 || file->info.size > HS_FILE_CACHE_FILE_BYTES)
        return;
    char *data = hs_alloc(size);
    if (data == NULL)
        return;
    hs_file_info_t after;
    /* Written to meanwhile: its bytes may come from two versions. */
    if (hs_page_cache_read(file->fd, data, size, 0) != (ptrdiff_t)size ||
        hs_file_stat(file->fd, &after) < 0 || !hs_file_is_same(&after, &file->info)) {
        hs_free(data);
        return;
    }
    file->data = data;
    cache->bytes += size;
    /* A response may still be sent from the descriptor. */
    if (atomic_load_explicit(&file->users, memory_order_acquire) == 1) {
        hs_file_close(file->fd);
        file->fd = -1;
    }
    cache->descriptors--;
}

static bool is_within_bounds(const hs_file_cache_t *cache)
{
    return cache->resources <= HS_FILE_CACHE_RESOURCES &&
           cache->descriptors <= HS_FILE_CACHE_DESCRIPTORS && cache->bytes <= HS_FILE_CACHE_BYTES;
}

void hs_file_cache_trim(hs_file_cache_t *cache)
{
    while (HS_UNLIKELY(!is_within_bounds(cache))) {
        hs_resource_t *oldest = HS_CONTAINER_OF(cache->used.next, hs_resource_t, used);
        if (oldest == cache->in_use)
            return;
        hs_file_cache_remove(cache, oldest);
    }
}

void hs_file_cache_give_way(hs_file_cache_t *cache)
{
    hs_list_t *next;
    for (hs_list_t *node = cache->used.next; node != &cache->used; node = next) {
        next = node->next;
        hs_resource_t *resource = HS_CONTAINER_OF(node, hs_resource_t, used);
        for (hs_coding_t coding = HS_CODING_IDENTITY;
             resource != cache->in_use && coding < HS_CODINGS; coding++) {
            if (resource->files[coding] == NULL || resource->files[coding]->data != NULL)
                continue;
            hs_file_cache_remove(cache, resource);
            break;
        }
    }
}
