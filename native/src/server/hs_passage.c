#include "server/hs_passage.h"

void hs_passage_begin(hs_passage_head_t *head, unsigned count)
{
    HS_ASSERT(count >= 1 && count <= HS_PASS_FDS);
    memset(head, 0, sizeof(*head));
    head->magic = HS_PASSAGE_MAGIC;
    head->version = HS_PASSAGE_VERSION;
    head->count = (uint8_t)count;
}

bool hs_passage_read(const char *data, size_t len, hs_passage_head_t *head, const char **bytes)
{
    size_t fixed = offsetof(hs_passage_head_t, records);
    if (len < fixed)
        return false;
    memcpy(head, data, fixed);
    if (head->magic != HS_PASSAGE_MAGIC || head->version != HS_PASSAGE_VERSION || head->count < 1 ||
        head->count > HS_PASS_FDS)
        return false;
    size_t at = hs_passage_head_size(head->count);
    if (len < at)
        return false;
    memcpy(head->records, data + fixed, at - fixed);
    *bytes = data + at;
    for (unsigned i = 0; i < head->count; i++) {
        if (head->records[i].len > len - at)
            return false;
        at += head->records[i].len;
    }
    return at == len;
}
