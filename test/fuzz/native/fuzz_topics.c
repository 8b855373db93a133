/*
 * A reader of topics on memory that another process has damaged: the input says what is damaged
 * and how, between publishing and reading.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "exec/hs_topic_hub.h"
#include "os/hs_shm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SLOTS 1
/* Head, counters and slots, and the beginnings of index and cells: most of what matters. */
#define FIRST_BYTES (64u * 1024)

static void on_message(void *context, const char *message, size_t length, uint64_t lost)
{
    uint64_t *sum = context;
    *sum += lost;
    for (size_t i = 0; i < length; i++)
        *sum += (unsigned char)message[i];
}

static void damage(unsigned char *memory, size_t size, const uint8_t *from)
{
    uint32_t at;
    uint64_t value = 0;
    memcpy(&at, from, 4);
    memcpy(&value, from + 4, 4);
    size_t word = at % ((at & 1) != 0 ? size : FIRST_BYTES) / 8 * 8;
    if (word < 64)
        return; /* the header, which attaching checks */
    if ((at & 2) != 0)
        value = (value << 32) | value;
    memcpy(memory + word, &value, 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hs_errinfo_t error;
    hs_topics_t *topics = hs_topics_new(SLOTS, HS_TOPICS_SIZE_MIN, &error);
    if (topics == NULL || hs_topics_begin(topics, 0, 0) != HS_OK)
        abort();
    size_t fd_count;
    int fd = *hs_topics_fds(topics, &fd_count);
    size_t bytes = hs_shm_size(fd);
    void *memory = NULL;
    if (hs_shm_map(fd, bytes, &memory) < 0)
        abort();
    hs_topic_hub_t *hub = hs_topic_hub_create(topics);
    uint64_t sum = 0;
    if (hub == NULL || hs_topic_hub_subscribe(hub, "t", 1, on_message, &sum) == NULL)
        abort();
    static char text[HS_TOPIC_MESSAGE_MAX];
    while (size >= 9) {
        uint8_t what = *data;
        if (what < 128)
            (void)hs_topics_publish(topics, what % 4 != 0 ? "t" : "u", 1, text,
                                    (size_t)what * what % sizeof(text));
        damage(memory, bytes, data + 1);
        if (what % 3 == 0)
            (void)hs_topic_hub_dispatch(hub, 100);
        if (what % 7 == 0)
            (void)hs_topic_hub_sleep(hub);
        data += 9;
        size -= 9;
    }
    (void)hs_topic_hub_dispatch(hub, 100);
    hs_topic_hub_free(hub);
    hs_shm_unmap(memory, bytes);
    hs_topics_free(topics);
    return 0;
}
