#include "server/hs_passage.h"

void hs_passage_begin(hs_passage_head_t *head, unsigned count)
{
    HS_ASSERT(count >= 1 && count <= HS_PASS_FDS);
    memset(head, 0, sizeof(*head));
    head->magic = HS_PASSAGE_MAGIC;
    head->version = HS_PASSAGE_VERSION;
    head->count = (uint8_t)count;
}

static uint32_t flag(bool is_set, unsigned value)
{
    return is_set ? value : 0;
}

void hs_passage_write(const hs_conn_moved_t *moved, hs_passage_record_t *record)
{
    *record = (hs_passage_record_t){
        .flags = HS_PASSAGE_MOVED | flag(moved->answered, HS_PASSAGE_ANSWERED) |
                 flag(moved->expects_proxy, HS_PASSAGE_EXPECTS_PROXY) |
                 flag(moved->replayed, HS_PASSAGE_REPLAYED) |
                 flag(moved->refuses, HS_PASSAGE_REFUSES) | flag(moved->closes, HS_PASSAGE_CLOSES) |
                 flag(moved->is_head, HS_PASSAGE_HEAD),
        .len = moved->len,
        .unsent = moved->unsent,
        .taken = moved->taken,
        .given = moved->given,
        .peer = moved->peer,
    };
}

void hs_passage_moved(const hs_passage_record_t *record, hs_conn_moved_t *moved)
{
    *moved = (hs_conn_moved_t){
        .answered = (record->flags & HS_PASSAGE_ANSWERED) != 0,
        .expects_proxy = (record->flags & HS_PASSAGE_EXPECTS_PROXY) != 0,
        .replayed = (record->flags & HS_PASSAGE_REPLAYED) != 0,
        .refuses = (record->flags & HS_PASSAGE_REFUSES) != 0,
        .closes = (record->flags & HS_PASSAGE_CLOSES) != 0,
        .is_head = (record->flags & HS_PASSAGE_HEAD) != 0,
        .len = record->len,
        .unsent = record->unsent,
        .taken = record->taken,
        .given = record->given,
        .peer = record->peer,
    };
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
        if (head->records[i].unsent > len - at)
            return false;
        at += head->records[i].unsent;
    }
    return at == len;
}
