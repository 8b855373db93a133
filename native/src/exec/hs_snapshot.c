#include "exec/hs_snapshot.h"

#include <errno.h>

#include "base/hs_alloc.h"
#include "os/hs_files.h"
#include "os/hs_shm.h"

/* The format of hs_snapshot_store: this, then for each file a file_head_t, its name with a NUL, and
 * its text. Writer and reader have the same version, on one machine. */
typedef struct head {
    char magic[8];
    uint32_t count;
    uint32_t is_whole;
} head_t;

typedef struct file_head {
    uint32_t name_len;
    uint32_t text_len;
} file_head_t;

static const char MAGIC[8] = { 'M', 'R', 'L', 'U', 'A', '0', '0', '1' };

typedef struct file {
    const char *name; /* NUL-terminated */
    const char *text;
    uint32_t name_len;
    uint32_t text_len;
} file_t;

struct hs_snapshot {
    const char *script;
    size_t directory_len; /* of `script`, without the slash */
    bool has_directory;   /* false: the script is in the working directory */
    bool is_whole;
    bool is_frozen;

    file_t *files;
    size_t count;
    size_t capacity;
    size_t total; /* bytes of texts */

    const void *mapped; /* NULL: names and texts are allocated */
    size_t mapped_size;
};

static hs_snapshot_t *new_snapshot(const char *script, hs_errinfo_t *error)
{
    hs_snapshot_t *snapshot = hs_alloc_zeroed(1, sizeof(*snapshot));
    if (snapshot == NULL) {
        hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for the files of the app");
        return NULL;
    }
    const char *slash = strrchr(script, '/');
    snapshot->script = script;
    snapshot->has_directory = slash != NULL;
    snapshot->directory_len = slash != NULL ? (size_t)(slash - script) : 0;
    return snapshot;
}

/* The last slot is free after it. */
HS_NODISCARD static bool make_room(hs_snapshot_t *snapshot)
{
    if (snapshot->count < snapshot->capacity)
        return true;
    size_t capacity = snapshot->capacity > 0 ? 2 * snapshot->capacity : 16;
    file_t *files = hs_realloc(snapshot->files, capacity * sizeof(*files));
    if (files == NULL)
        return false;
    snapshot->files = files;
    snapshot->capacity = capacity;
    return true;
}

/* The path of a file. False: too long. */
static bool path_of(const hs_snapshot_t *snapshot, const char *name, char *path, size_t size)
{
    int len =
        snapshot->has_directory
            ? snprintf(path, size, "%.*s/%s", (int)snapshot->directory_len, snapshot->script, name)
            : snprintf(path, size, "%s", name);
    return len > 0 && (size_t)len < size;
}

/* Takes over `text`. 0 or -errno. */
static int add(hs_snapshot_t *snapshot, const char *name, char *text, size_t len)
{
    size_t name_len = strlen(name);
    char *name_copy = hs_alloc(name_len + 1);
    if (name_copy == NULL || !make_room(snapshot)) {
        hs_free(name_copy);
        hs_free(text);
        return -ENOMEM;
    }
    memcpy(name_copy, name, name_len + 1);
    snapshot->files[snapshot->count++] = (file_t){
        .name = name_copy,
        .text = text,
        .name_len = (uint32_t)name_len,
        .text_len = (uint32_t)len,
    };
    snapshot->total += len;
    return 0;
}

/* -EFBIG: the snapshot would exceed its limit. */
static int read_file(hs_snapshot_t *snapshot, const char *name)
{
    char path[4096];
    char *text;
    size_t len;
    if (!path_of(snapshot, name, path, sizeof(path)))
        return -ENAMETOOLONG;
    int result = hs_files_read(path, HS_SNAPSHOT_MAX - snapshot->total, &text, &len);
    return result < 0 ? result : add(snapshot, name, text, len);
}

static const file_t *find(const hs_snapshot_t *snapshot, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < snapshot->count; i++)
        if (snapshot->files[i].name_len == len && memcmp(snapshot->files[i].name, name, len) == 0)
            return &snapshot->files[i];
    return NULL;
}

typedef struct collection {
    hs_snapshot_t *snapshot;
    int result;
} collection_t;

/* Unreadable files are skipped; only limits and lack of memory end the walk. */
static bool collect(void *context, const char *relative)
{
    collection_t *collection = context;
    if (strcmp(relative, hs_snapshot_script_name(collection->snapshot)) == 0)
        return true; /* it came first */
    int result = read_file(collection->snapshot, relative);
    if (result != -EFBIG && result != -ENOMEM)
        return true;
    collection->result = result;
    return false;
}

static void drop_files(hs_snapshot_t *snapshot)
{
    if (snapshot->mapped == NULL)
        for (size_t i = 0; i < snapshot->count; i++) {
            hs_free((void *)(uintptr_t)snapshot->files[i].name);
            hs_free((void *)(uintptr_t)snapshot->files[i].text);
        }
    snapshot->count = 0;
    snapshot->total = 0;
}

static int cannot_read(const hs_snapshot_t *snapshot, int result, hs_errinfo_t *error)
{
    const char *why = result == -EINVAL ? "it is not a file" : strerror(-result);
    return hs_errinfo_set(error, HS_ERR_HANDLER, -result, "cannot open %s: %s", snapshot->script,
                          why);
}

static int read_files(hs_snapshot_t *snapshot, hs_errinfo_t *error)
{
    char directory[4096];
    if (!snapshot->has_directory)
        snprintf(directory, sizeof(directory), ".");
    else if (snapshot->directory_len < sizeof(directory))
        snprintf(directory, sizeof(directory), "%.*s", (int)snapshot->directory_len,
                 snapshot->script);
    else
        return cannot_read(snapshot, -ENAMETOOLONG, error);
    const char *script_name = hs_snapshot_script_name(snapshot);
    int result = read_file(snapshot, script_name);
    if (result < 0)
        return cannot_read(snapshot, result, error);
    collection_t collection = { snapshot, 0 };
    result = hs_files_walk(directory, ".lua", HS_SNAPSHOT_ENTRIES_MAX, collect, &collection);
    snapshot->is_whole = result == 0;
    if (snapshot->is_whole)
        return HS_OK;
    if (collection.result == -ENOMEM)
        return hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for the files of the app");
    drop_files(snapshot);
    result = read_file(snapshot, script_name);
    return result < 0 ? cannot_read(snapshot, result, error) : HS_OK;
}

hs_snapshot_t *hs_snapshot_take(const char *script, hs_errinfo_t *error)
{
    hs_snapshot_t *snapshot = new_snapshot(script, error);
    if (snapshot != NULL && read_files(snapshot, error) != HS_OK) {
        hs_snapshot_free(snapshot);
        return NULL;
    }
    return snapshot;
}

/* Reads the file at `*at`. False: it is not a file. */
static bool map_file(hs_snapshot_t *snapshot, size_t *at)
{
    const char *bytes = snapshot->mapped;
    size_t left = snapshot->mapped_size - *at;
    file_head_t head;
    if (left < sizeof(head) || !make_room(snapshot))
        return false;
    memcpy(&head, bytes + *at, sizeof(head));
    left -= sizeof(head);
    if ((uint64_t)head.name_len + 1 + head.text_len > left)
        return false;
    const char *name = bytes + *at + sizeof(head);
    if (name[head.name_len] != '\0')
        return false;
    snapshot->files[snapshot->count++] = (file_t){
        .name = name,
        .text = name + head.name_len + 1,
        .name_len = head.name_len,
        .text_len = head.text_len,
    };
    *at += sizeof(head) + head.name_len + 1 + head.text_len;
    return true;
}

static bool map_files(hs_snapshot_t *snapshot)
{
    head_t head;
    if (snapshot->mapped_size < sizeof(head))
        return false;
    memcpy(&head, snapshot->mapped, sizeof(head));
    if (memcmp(head.magic, MAGIC, sizeof(MAGIC)) != 0)
        return false;
    size_t at = sizeof(head);
    for (uint32_t i = 0; i < head.count; i++)
        if (!map_file(snapshot, &at))
            return false;
    snapshot->is_whole = head.is_whole != 0;
    snapshot->is_frozen = true;
    return at == snapshot->mapped_size;
}

hs_snapshot_t *hs_snapshot_map(int fd, const char *script, hs_errinfo_t *error)
{
    hs_snapshot_t *snapshot = new_snapshot(script, error);
    if (snapshot == NULL)
        return NULL;
    size_t size = hs_shm_size(fd);
    int result = size == 0 ? -EINVAL : hs_shm_map_read(fd, size, &snapshot->mapped);
    if (result == 0) {
        snapshot->mapped_size = size;
        result = map_files(snapshot) ? 0 : -EINVAL;
    }
    if (result == 0)
        return snapshot;
    hs_errinfo_set(error, HS_ERR_SYSTEM, -result, "cannot map the files of the app: %s",
                   strerror(-result));
    hs_snapshot_free(snapshot);
    return NULL;
}

void hs_snapshot_free(hs_snapshot_t *snapshot)
{
    if (snapshot == NULL)
        return;
    drop_files(snapshot);
    if (snapshot->mapped != NULL)
        hs_shm_unmap(snapshot->mapped, snapshot->mapped_size);
    hs_free(snapshot->files);
    hs_free(snapshot);
}

bool hs_snapshot_is_whole(const hs_snapshot_t *snapshot)
{
    return snapshot->is_whole;
}

void hs_snapshot_freeze(hs_snapshot_t *snapshot)
{
    if (!snapshot->is_frozen) /* later calls may come from any thread */
        snapshot->is_frozen = true;
}

int hs_snapshot_store(const hs_snapshot_t *snapshot)
{
    size_t count = snapshot->count;
    struct iovec *pieces = hs_alloc((1 + 3 * count) * sizeof(*pieces));
    file_head_t *heads = hs_alloc((count + 1) * sizeof(*heads));
    int result = -ENOMEM;
    if (pieces != NULL && heads != NULL) {
        head_t head = { .count = (uint32_t)count, .is_whole = snapshot->is_whole };
        memcpy(head.magic, MAGIC, sizeof(MAGIC));
        size_t used = 0;
        pieces[used++] = (struct iovec){ &head, sizeof(head) };
        for (size_t i = 0; i < count; i++) {
            const file_t *file = &snapshot->files[i];
            heads[i] = (file_head_t){ file->name_len, file->text_len };
            pieces[used++] = (struct iovec){ &heads[i], sizeof(heads[i]) };
            pieces[used++] = (struct iovec){ (void *)(uintptr_t)file->name, file->name_len + 1u };
            pieces[used++] = (struct iovec){ (void *)(uintptr_t)file->text, file->text_len };
        }
        result = hs_shm_store(pieces, used, false);
    }
    hs_free(pieces);
    hs_free(heads);
    return result;
}

/* Larger apps: files loaded by the first state are kept, others are read from disk. */
static bool find_on_disk(hs_snapshot_t *snapshot, const char *name, hs_snapshot_text_t *out)
{
    char path[4096];
    char *text;
    size_t len;
    if (!path_of(snapshot, name, path, sizeof(path)) ||
        hs_files_read(path, HS_SNAPSHOT_MAX, &text, &len) < 0)
        return false;
    bool is_kept = !snapshot->is_frozen && snapshot->total + len <= HS_SNAPSHOT_MAX;
    *out = (hs_snapshot_text_t){ hs_span(text, len), is_kept ? NULL : text };
    return !is_kept || add(snapshot, name, text, len) == 0;
}

bool hs_snapshot_find(hs_snapshot_t *snapshot, const char *name, hs_snapshot_text_t *out)
{
    const file_t *file = find(snapshot, name);
    if (file == NULL)
        return !snapshot->is_whole && find_on_disk(snapshot, name, out);
    *out = (hs_snapshot_text_t){ hs_span(file->text, file->text_len), NULL };
    return true;
}

const char *hs_snapshot_script_name(const hs_snapshot_t *snapshot)
{
    const char *slash = strrchr(snapshot->script, '/');
    return slash != NULL ? slash + 1 : snapshot->script;
}
