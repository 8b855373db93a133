#include "server/hs_boss_slots.h"

#include <errno.h>

#include "base/hs_alloc.h"
#include "os/hs_sock.h"

static void count(_Atomic uint64_t *number, uint64_t n)
{
    uint64_t now = atomic_load_explicit(number, memory_order_relaxed);
    atomic_store_explicit(number, now + n, memory_order_relaxed);
}

static bool is_up(const hs_boss_slot_t *slot)
{
    return atomic_load_explicit(&slot->up, memory_order_acquire) != 0;
}

static void watch(hs_boss_slots_t *slots, hs_boss_slot_t *slot)
{
    unsigned interest =
        (slot->reads ? (unsigned)HS_EV_READ : 0) | (slot->blocked ? (unsigned)HS_EV_WRITE : 0);
    if (hs_ev_io_change(slots->ev, &slot->watcher, interest) < 0)
        slots->needs_retry = true;
}

static void close_fds(const int *fds, size_t count_fds)
{
    for (size_t i = 0; i < count_fds; i++)
        hs_sock_close(fds[i]);
}

/* True: sent or lost, no longer ours either way. False: it has to wait. */
static bool send_message(hs_boss_slots_t *slots, hs_boss_slot_t *slot, const void *data, size_t len,
                         const int *fds, size_t fd_count)
{
    struct iovec iov = { (void *)(uintptr_t)data, len };
    int result = hs_pass_send(slot->watcher.fd, &iov, 1, fds, fd_count);
    switch (-result) {
    case 0:
        count(&slot->passed, fd_count);
        slot->load += fd_count;
        break;
    case EAGAIN:
        slot->blocked = true;
        watch(slots, slot);
        return false;
    case ETOOMANYREFS:
    case ENOBUFS:
    case ENOMEM:
        slot->blocked = true; /* and no event will report its end */
        slots->needs_retry = true;
        return false;
    default:
        count(&slots->tally.lost, fd_count);
        hs_log_write(slots->log, HS_LOG_ERROR, "%zu connections cannot be passed: %s", fd_count,
                     strerror(-result));
        break;
    }
    close_fds(fds, fd_count);
    return true;
}

static void send_batch(hs_boss_slots_t *slots, hs_boss_slot_t *slot)
{
    if (slot->batch_count == 0 || slot->blocked)
        return;
    hs_passage_head_t head;
    hs_passage_begin(&head, slot->batch_count);
    if (send_message(slots, slot, &head, hs_passage_head_size(slot->batch_count), slot->batch,
                     slot->batch_count))
        slot->batch_count = 0;
}

/*
 * Connections that were passed to a slot and that its reactors have not counted as taken yet. What
 * a reactor had taken from the pair but not counted when it died would be under way for ever: once
 * the pair is empty, the difference is subtracted from then on. If the next reactor was between
 * taking and counting, the difference shrinks again, and so does the correction.
 */
static uint64_t under_way(hs_boss_slot_t *slot, uint64_t passed, uint64_t taken)
{
    uint64_t gap = passed > taken ? passed - taken : 0;
    bool recounts = atomic_load_explicit(&slot->recounts, memory_order_acquire);
    if (slot->written_off > gap)
        slot->written_off = gap;
    if (recounts && hs_pass_is_empty(slot->inbox)) {
        slot->written_off = gap;
        atomic_store_explicit(&slot->recounts, false, memory_order_relaxed);
    }
    return gap - slot->written_off;
}

static void refresh(hs_boss_slots_t *slots)
{
    for (uint32_t i = 0; i < slots->count; i++) {
        hs_boss_slot_t *slot = &slots->slots[i];
        uint64_t passed = atomic_load_explicit(&slot->passed, memory_order_relaxed);
        slot->load = passed + slot->batch_count;
        if (slots->stats == NULL || !is_up(slot))
            continue;
        /* Connections that the reactors have, and those they have not taken from the pair yet. */
        uint64_t taken = hs_stats_page_counter(slots->stats, i, HS_STATS_PASSED);
        slot->load = under_way(slot, passed, taken) + slot->batch_count;
        for (uint32_t side = 0; side < HS_STATS_SIDES; side++) {
            hs_stats_process_t process;
            if (!hs_stats_page_read(slots->stats, i, side, &process) || process.pid == 0)
                continue;
            for (unsigned s = 0; s < HS_STATS_STATES; s++)
                slot->load += process.connections[s];
        }
    }
}

void hs_boss_slots_refresh(hs_boss_slots_t *slots)
{
    if (slots->policy == HS_BOSS_LEAST)
        refresh(slots);
}

static hs_boss_slot_t *pick(hs_boss_slots_t *slots, hs_boss_policy_t policy)
{
    hs_boss_slot_t *best = NULL;
    for (uint32_t i = 0; i < slots->count; i++) {
        hs_boss_slot_t *slot = &slots->slots[(slots->next + i) % slots->count];
        if (!is_up(slot) || slot->blocked || slot->batch_count == HS_PASS_FDS)
            continue;
        if (best == NULL || slot->load < best->load)
            best = slot;
        if (policy == HS_BOSS_ROUND_ROBIN)
            break;
    }
    return best;
}

hs_boss_slot_t *hs_boss_slots_pick(hs_boss_slots_t *slots)
{
    return pick(slots, slots->policy);
}

/* `slot` got one: round robin continues after it. */
static void go_behind(hs_boss_slots_t *slots, const hs_boss_slot_t *slot)
{
    slots->next = (uint32_t)(slot - slots->slots) + 1;
}

void hs_boss_slots_add(hs_boss_slots_t *slots, hs_boss_slot_t *slot, int fd)
{
    HS_ASSERT(slot->batch_count < HS_PASS_FDS);
    slot->batch[slot->batch_count++] = fd;
    slot->load++;
    go_behind(slots, slot);
    count(&slots->tally.accepted, 1);
    if (slot->batch_count == HS_PASS_FDS)
        send_batch(slots, slot);
}

void hs_boss_slots_flush(hs_boss_slots_t *slots)
{
    for (uint32_t i = 0; i < slots->count; i++)
        send_batch(slots, &slots->slots[i]);
}

static hs_boss_slot_t *least_loaded(hs_boss_slots_t *slots)
{
    refresh(slots);
    return pick(slots, HS_BOSS_LEAST);
}

/* A moved connection goes to the successor of its own reactor if there is one. */
static hs_boss_slot_t *target_of(hs_boss_slots_t *slots, hs_boss_slot_t *from)
{
    if (is_up(from))
        return from->blocked ? NULL : from;
    return least_loaded(slots);
}

static void hold(hs_boss_slots_t *slots, hs_boss_slot_t *from, const hs_passed_t *passed)
{
    HS_ASSERT(from->held == NULL);
    hs_boss_message_t *message = hs_alloc(sizeof(*message) + passed->len);
    if (message == NULL) {
        count(&slots->tally.lost, passed->fd_count);
        hs_log_write(slots->log, HS_LOG_ERROR, "out of memory: %zu moved connections closed",
                     passed->fd_count);
        close_fds(passed->fds, passed->fd_count);
        return;
    }
    message->len = passed->len;
    message->fd_count = passed->fd_count;
    memcpy(message->fds, passed->fds, sizeof(message->fds));
    memcpy(message->data, slots->buffer, passed->len);
    from->held = message;
}

/* A keeper reports the death before the supervisor knows: its connections must not go back
 * there. */
static void note_death(hs_boss_slot_t *from, uint32_t dead)
{
    if (dead != 0)
        (void)atomic_compare_exchange_strong_explicit(&from->up, &dead, 0, memory_order_acq_rel,
                                                      memory_order_relaxed);
}

/* Carries one message from `fd`, an end of the pair of `from`. True: there may be more. */
static bool relay_one(hs_boss_slots_t *slots, hs_boss_slot_t *from, int fd)
{
    hs_boss_slot_t *to = from->held == NULL ? target_of(slots, from) : NULL;
    if (to == NULL)
        return false;
    hs_passed_t passed;
    int result = hs_pass_recv(fd, slots->buffer, sizeof(slots->buffer), &passed);
    if (result < 0 || passed.len == 0)
        return false;
    if (passed.is_cut) {
        count(&slots->tally.lost, 1);
        hs_log_write(slots->log, HS_LOG_ERROR, "moved connections were lost: %s", strerror(EMFILE));
    }
    hs_passage_head_t head;
    const char *bytes;
    bool spreads = false;
    if (hs_passage_read(slots->buffer, passed.len, &head, &bytes)) {
        note_death(from, head.dead_pid);
        spreads = (head.records[0].flags & HS_PASSAGE_SPREAD) != 0;
    }
    to = spreads ? least_loaded(slots) : target_of(slots, from);
    if (to == NULL) {
        hold(slots, from, &passed);
        return true;
    }
    if (to != from)
        go_behind(slots, to);
    if (send_message(slots, to, slots->buffer, passed.len, passed.fds, passed.fd_count))
        count(&slots->tally.relayed, passed.fd_count);
    else
        hold(slots, from, &passed);
    return true;
}

static void relay_from(hs_boss_slots_t *slots, hs_boss_slot_t *slot, int fd)
{
    while (relay_one(slots, slot, fd)) {
    }
}

/* Whether moved connections can be taken now; otherwise they wait in their pair. */
static void choose_reading(hs_boss_slots_t *slots, hs_boss_slot_t *slot)
{
    bool reads = slot->held == NULL && target_of(slots, slot) != NULL;
    if (reads == slot->reads)
        return;
    slot->reads = reads;
    watch(slots, slot);
}

static void on_pair_event(hs_ev_t *ev, hs_ev_io_t *watcher, unsigned events)
{
    hs_boss_slots_t *slots = hs_ev_context(ev);
    hs_boss_slot_t *slot = (hs_boss_slot_t *)(void *)watcher;
    if (events & HS_EV_READ)
        relay_from(slots, slot, watcher->fd);
    if (events & HS_EV_WRITE) {
        slot->blocked = false;
        watch(slots, slot);
    }
    hs_boss_slots_resume(slots);
}

/* Connections accepted for a slot that went down go to others. */
static void reassign_batch(hs_boss_slots_t *slots, hs_boss_slot_t *slot)
{
    hs_boss_slot_t *to;
    while (slot->batch_count > 0 && !is_up(slot) && (to = hs_boss_slots_pick(slots)) != NULL) {
        go_behind(slots, to);
        to->batch[to->batch_count++] = slot->batch[--slot->batch_count];
        to->load++;
        if (to->batch_count == HS_PASS_FDS)
            send_batch(slots, to);
    }
}

static void release_held(hs_boss_slots_t *slots, hs_boss_slot_t *slot)
{
    hs_boss_message_t *held = slot->held;
    hs_boss_slot_t *to = held != NULL ? target_of(slots, slot) : NULL;
    if (to == NULL || !send_message(slots, to, held->data, held->len, held->fds, held->fd_count))
        return;
    count(&slots->tally.relayed, held->fd_count);
    hs_free(held);
    slot->held = NULL;
}

static void reclaim(hs_boss_slots_t *slots, hs_boss_slot_t *slot)
{
    if (!atomic_load_explicit(&slot->reclaim, memory_order_acquire) || is_up(slot))
        return;
    relay_from(slots, slot, slot->inbox);
    hs_boss_slot_t *to = slot->held == NULL ? target_of(slots, slot) : NULL;
    if (to != NULL) /* the relay ended because the pair was empty */
        atomic_store_explicit(&slot->reclaim, false, memory_order_relaxed);
}

void hs_boss_slots_resume(hs_boss_slots_t *slots)
{
    uint64_t held = 0;
    if (slots->needs_retry)
        for (uint32_t i = 0; i < slots->count; i++)
            slots->slots[i].blocked = false;
    slots->needs_retry = false;
    for (uint32_t i = 0; i < slots->count; i++) {
        hs_boss_slot_t *slot = &slots->slots[i];
        release_held(slots, slot);
        reassign_batch(slots, slot);
        reclaim(slots, slot);
    }
    hs_boss_slots_flush(slots);
    for (uint32_t i = 0; i < slots->count; i++) {
        hs_boss_slot_t *slot = &slots->slots[i];
        choose_reading(slots, slot);
        held += slot->batch_count + (slot->held != NULL ? slot->held->fd_count : 0);
    }
    atomic_store_explicit(&slots->tally.held, held, memory_order_relaxed);
}

int hs_boss_slots_open(hs_boss_slots_t *slots, hs_errinfo_t *error)
{
    slots->slots = hs_alloc_zeroed(slots->count, sizeof(*slots->slots));
    if (slots->slots == NULL)
        return hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for the boss");
    for (uint32_t i = 0; i < slots->count; i++)
        slots->slots[i].inbox = -1;
    for (uint32_t i = 0; i < slots->count; i++) {
        hs_boss_slot_t *slot = &slots->slots[i];
        int pair[2];
        int result = hs_sock_pair(pair);
        if (result == 0) {
            slot->inbox = pair[1];
            result = hs_ev_io_start(slots->ev, &slot->watcher, pair[0], 0, on_pair_event);
            if (result < 0)
                hs_sock_close(pair[0]);
        }
        if (result < 0)
            return hs_errinfo_set(error, HS_ERR_SYSTEM, -result, "cannot create a socket pair: %s",
                                  strerror(-result));
    }
    return HS_OK;
}

void hs_boss_slots_close(hs_boss_slots_t *slots)
{
    for (uint32_t i = 0; slots->slots != NULL && i < slots->count; i++) {
        hs_boss_slot_t *slot = &slots->slots[i];
        close_fds(slot->batch, slot->batch_count);
        if (slot->held != NULL)
            close_fds(slot->held->fds, slot->held->fd_count);
        hs_free(slot->held);
        hs_ev_io_close(slots->ev, &slot->watcher, NULL);
        hs_sock_close(slot->inbox);
    }
    hs_free(slots->slots);
    slots->slots = NULL;
}
