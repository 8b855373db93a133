#include "data/hs_out.h"

/* Sent bytes are dropped from the front of the copies when they reach this size. */
#define COMPACT_BYTES (32 * 1024)

static hs_out_segment_t *segment_new(hs_out_t *out)
{
    if (!out->inlined_used) {
        out->inlined_used = true;
        return &out->inlined;
    }
    return hs_kept_alloc(sizeof(hs_out_segment_t));
}

static void segment_free(hs_out_t *out, hs_out_segment_t *segment)
{
    if (segment == &out->inlined)
        out->inlined_used = false;
    else
        hs_kept_free(segment);
}

static bool add(hs_out_t *out, hs_out_segment_t segment)
{
    HS_ASSERT(segment.left > 0);
    hs_out_segment_t *added = segment_new(out);
    if (added == NULL)
        return false;
    *added = segment;
    added->next = NULL;
    added->at = out->bytes.len;
    if (out->first == NULL)
        out->first = added;
    else
        out->last->next = added;
    out->last = added;
    out->segments_left += segment.left;
    return true;
}

bool hs_out_take_buf(hs_out_t *out, hs_buf_t *buf)
{
    if (!add(out, (hs_out_segment_t){
                      .kind = HS_OUT_OWNED, .data = buf->data, .left = buf->len, .owned = *buf }))
        return false;
    *buf = out->spare;
    buf->len = 0;
    out->spare = (hs_buf_t){ 0 };
    return true;
}

bool hs_out_pin(hs_out_t *out, const char *data, size_t len, hs_release_t release)
{
    return add(out, (hs_out_segment_t){ .kind = HS_OUT_PINNED,
                                        .data = (char *)(uintptr_t)data,
                                        .left = len,
                                        .release = release });
}

bool hs_out_add_file(hs_out_t *out, int file, uint64_t offset, size_t len, int64_t modified_ns,
                     uint64_t resident, hs_release_t release)
{
    return add(out, (hs_out_segment_t){ .kind = HS_OUT_FILE,
                                        .file = file,
                                        .offset = offset,
                                        .modified_ns = modified_ns,
                                        .resident = resident,
                                        .left = len,
                                        .release = release });
}

int hs_out_pieces(const hs_out_t *out, struct iovec iov[HS_OUT_IOV_MAX])
{
    int count = 0;
    size_t from = out->bytes_taken;
    for (const hs_out_segment_t *segment = out->first; segment != NULL; segment = segment->next) {
        if (from < segment->at)
            iov[count++] = (struct iovec){ out->bytes.data + from, segment->at - from };
        from = segment->at;
        if (segment->kind == HS_OUT_FILE || count == HS_OUT_IOV_MAX)
            return count;
        iov[count++] = (struct iovec){ segment->data, segment->left };
        if (count == HS_OUT_IOV_MAX)
            return count;
    }
    if (from < out->bytes.len)
        iov[count++] = (struct iovec){ out->bytes.data + from, out->bytes.len - from };
    return count;
}

hs_out_segment_t *hs_out_next_file(const hs_out_t *out)
{
    hs_out_segment_t *first = out->first;
    bool is_next = first != NULL && first->kind == HS_OUT_FILE && first->at == out->bytes_taken;
    return is_next ? first : NULL;
}

/* Ends the first segment: its bytes were sent, or are dropped. */
static void end_first(hs_out_t *out)
{
    hs_out_segment_t *segment = out->first;
    out->first = segment->next;
    if (out->first == NULL)
        out->last = NULL;
    out->segments_left -= segment->left;
    if (segment->kind == HS_OUT_OWNED) {
        hs_buf_free(&out->spare);
        out->spare = segment->owned;
        hs_buf_reset(&out->spare, HS_OUT_KEEP_BYTES);
    }
    hs_release_t release = segment->release;
    segment_free(out, segment);
    hs_release(release);
}

void hs_out_taken_segments(hs_out_t *out, size_t len)
{
    while (len > 0) {
        hs_out_segment_t *segment = out->first;
        size_t until = segment != NULL ? segment->at : out->bytes.len;
        size_t copies = hs_min(len, until - out->bytes_taken);
        out->bytes_taken += copies;
        len -= copies;
        if (len == 0 || segment == NULL)
            break;
        size_t part = hs_min(len, segment->left);
        segment->left -= part;
        segment->offset += part;
        if (segment->kind != HS_OUT_FILE)
            segment->data += part;
        out->segments_left -= part;
        len -= part;
        if (segment->left == 0)
            end_first(out);
    }
    HS_ASSERT(len == 0);
    if (hs_out_unsent(out) == 0)
        hs_out_reset(out, HS_OUT_KEEP_BYTES);
}

bool hs_out_holds(const hs_out_t *out, const void *context)
{
    for (const hs_out_segment_t *segment = out->first; segment != NULL; segment = segment->next)
        if (segment->release.function != NULL && segment->release.context == context)
            return true;
    return false;
}

void hs_out_clear(hs_out_t *out)
{
    while (out->first != NULL)
        end_first(out);
    out->bytes.len = out->bytes_taken = 0;
    hs_out_reset(out, HS_OUT_KEEP_BYTES);
}

void hs_out_free(hs_out_t *out)
{
    hs_out_clear(out);
    hs_buf_free(&out->bytes);
    hs_buf_free(&out->spare);
}

void hs_out_compact(hs_out_t *out)
{
    size_t taken = out->bytes_taken;
    if (taken < COMPACT_BYTES || taken < out->bytes.len - taken)
        return;
    memmove(out->bytes.data, out->bytes.data + taken, out->bytes.len - taken);
    out->bytes.len -= taken;
    out->bytes_taken = 0;
    for (hs_out_segment_t *segment = out->first; segment != NULL; segment = segment->next)
        segment->at -= taken;
}
