/*
 * The Lua files of an app as accepted: its script and every *.lua file below the script's
 * directory. All states load from here, not from disk, where the next version may be half written.
 *
 * The process that checks the app takes the snapshot and stores it in memory that is passed on by
 * descriptor and mapped by the reactors; a C program takes one and keeps it. Beyond HS_SNAPSHOT_MAX
 * bytes or HS_SNAPSHOT_ENTRIES_MAX directory entries it holds only what the first state loaded;
 * other files are then still read from disk.
 *
 * Thread: made by one; read by any after hs_snapshot_freeze, and before that by the one that made
 * it.
 */
#pragma once

#include "base/hs_err.h"
#include "base/hs_span.h"

#define HS_SNAPSHOT_MAX ((size_t)64 * 1024 * 1024)
#define HS_SNAPSHOT_ENTRIES_MAX 100000

/* owner: hs_lua_generation_t, or who checks an app */
typedef struct hs_snapshot hs_snapshot_t;

/* Reads the files. `script` is borrowed: it outlives the snapshot. NULL on failure. */
HS_NODISCARD hs_snapshot_t *hs_snapshot_take(const char *script, hs_errinfo_t *error);

/* Maps a snapshot stored by hs_snapshot_store; `fd` is borrowed. NULL on failure. */
HS_NODISCARD hs_snapshot_t *hs_snapshot_map(int fd, const char *script, hs_errinfo_t *error);

void hs_snapshot_free(hs_snapshot_t *snapshot);

/* False: larger than the limits. */
bool hs_snapshot_is_whole(const hs_snapshot_t *snapshot);

/* The first state has loaded: nothing more is added. */
void hs_snapshot_freeze(hs_snapshot_t *snapshot);

/* A close-on-exec descriptor of sealed memory, or -errno. */
HS_NODISCARD int hs_snapshot_store(const hs_snapshot_t *snapshot);

/* The text of a file. */
typedef struct hs_snapshot_text {
    hs_span_t text;
    char *owned; /* hs_free after use; NULL: the snapshot's */
} hs_snapshot_text_t;

/* `name` is relative to the script's directory. False: there is no such file. */
HS_NODISCARD bool hs_snapshot_find(hs_snapshot_t *snapshot, const char *name,
                                   hs_snapshot_text_t *out);

/* The script's own name, relative to its directory. */
const char *hs_snapshot_script_name(const hs_snapshot_t *snapshot);
