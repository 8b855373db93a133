/*
 * Publishers that are killed (-9) at any moment: readers never stop, and what they read is complete
 * and in order. MOONRING_TEST_KILLS sets the number of kills.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "exec/hs_topic_hub.h"
#include "os/hs_clock.h"

#define SLOTS 3
#define KILLS 300
#define STUCK_MS 1000              /* less than after what a reader goes on anyway */
#define STEP_NS UINT64_C(10000000) /* more than one step takes */

/* The text of a message: publisher, number, and the same byte repeated. */
static size_t text_of(char *text, uint32_t publisher, uint32_t number)
{
    size_t len = 16 + (number * 2654435761u >> 8) % (number % 4 == 0 ? 60000 : 300);
    memset(text, 'a' + (int)((publisher + number) % 26), len);
    memcpy(text, &publisher, 4);
    memcpy(text + 4, &number, 4);
    return len;
}

/* In a separate process, until it is killed. */
static void publish_until_killed(hs_topics_t *topics, uint32_t slot, uint32_t publisher)
{
    static char text[HS_TOPIC_MESSAGE_MAX];
    pid_t parent = getppid();
    if (hs_topics_begin(topics, slot, 0) != HS_OK)
        _exit(1);
    for (uint32_t number = 0; getppid() == parent; number++) {
        (void)hs_topics_publish(topics, "t", 1, text, text_of(text, publisher, number));
        (void)usleep(30); /* for the reader, if there are few CPUs */
    }
    _exit(1);
}

typedef struct checked {
    uint64_t count;
    uint64_t wrong;
    uint32_t *last; /* of each publisher, 1 more than the number */
    uint32_t publishers;
    char expected[HS_TOPIC_MESSAGE_MAX];
} checked_t;

static void check(void *context, const char *message, size_t length, uint64_t lost)
{
    (void)lost;
    checked_t *checked = context;
    uint32_t publisher, number;
    checked->count++;
    if (length < 16) {
        checked->wrong++;
        return;
    }
    memcpy(&publisher, message, 4);
    memcpy(&number, message + 4, 4);
    size_t len = text_of(checked->expected, publisher, number);
    if (publisher >= checked->publishers || number < checked->last[publisher] || len != length ||
        memcmp(checked->expected, message, len) != 0) {
        checked->wrong++;
        return;
    }
    checked->last[publisher] = number + 1;
}

/* Reads for this long. */
static void read_for(hs_topic_hub_t *hub, uint64_t us)
{
    uint64_t until_ns = hs_clock_monotonic_ns() + us * 1000;
    do
        (void)hs_topic_hub_dispatch(hub, 20);
    while (hs_clock_monotonic_ns() < until_ns);
}

/* Until a message published now is read, by which time others may have overwritten it. */
static void expect_no_stop(hs_topics_t *topics, hs_topic_hub_t *hub, checked_t *checked,
                           uint32_t publisher)
{
    char text[HS_TOPIC_MESSAGE_MAX];
    uint64_t last_ns = hs_clock_monotonic_ns();
    uint64_t stuck_ns = 0;
    uint64_t before = checked->count;
    for (uint32_t number = 0; checked->count == before; number++) {
        assert_int_equal(hs_topics_publish(topics, "t", 1, text, text_of(text, publisher, number)),
                         HS_OK);
        (void)hs_topic_hub_dispatch(hub, 1000);
        uint64_t now_ns = hs_clock_monotonic_ns();
        /* Time in which this process did not run is not the reader's. */
        stuck_ns += hs_min(now_ns - last_ns, STEP_NS);
        last_ns = now_ns;
        if (stuck_ns > STUCK_MS * UINT64_C(1000000))
            fail_msg("a reader has stopped");
    }
}

static void killed_publishers_neither_stop_nor_tear(void **state)
{
    (void)state;
    const char *wanted = getenv("MOONRING_TEST_KILLS");
    uint32_t kills = wanted != NULL ? (uint32_t)strtoul(wanted, NULL, 10) : KILLS;
    hs_errinfo_t error;
    hs_topics_t *topics = hs_topics_new(SLOTS, HS_TOPICS_SIZE_MIN, &error);
    assert_non_null(topics);
    hs_topic_hub_t *hub = hs_topic_hub_create(topics);
    checked_t *checked = calloc(1, sizeof(*checked));
    checked->publishers = 2 * kills + 2 * SLOTS;
    checked->last = calloc(checked->publishers, sizeof(uint32_t));
    assert_non_null(hs_topic_hub_subscribe(hub, "t", 1, check, checked));
    pid_t pids[SLOTS] = { 0 };
    uint32_t publisher = 0;
    uint64_t random = 88172645463325252u;
    for (uint32_t i = 0; i < kills + SLOTS; i++) {
        uint32_t slot = i % SLOTS;
        random = random * 6364136223846793005u + 1442695040888963407u;
        if (pids[slot] != 0) {
            read_for(hub, (random >> 33) % 1500);
            kill(pids[slot], SIGKILL);
            waitpid(pids[slot], NULL, 0);
            hs_topics_reset(topics, slot, 0);
            expect_no_stop(topics, hub, checked, publisher++);
        }
        pid_t pid = i < kills ? fork() : -1;
        if (pid == 0)
            publish_until_killed(topics, slot, publisher);
        pids[slot] = pid > 0 ? pid : 0;
        publisher++;
    }
    assert_int_equal(checked->wrong, 0);
    print_message("%u kills, %llu messages read\n", kills, (unsigned long long)checked->count);
    hs_topic_hub_free(hub);
    hs_topics_free(topics);
    free(checked->last);
    free(checked);
}

/* It has reserved cells, and is stopped: readers continue after a while, and its later writes do
 * no harm. */
static void a_publisher_that_stands_still_stops_readers_for_a_limited_time(void **state)
{
    (void)state;
    hs_errinfo_t error;
    hs_topics_t *topics = hs_topics_new(SLOTS, HS_TOPICS_SIZE_MIN, &error);
    hs_topic_hub_t *hub = hs_topic_hub_create(topics);
    checked_t *checked = calloc(1, sizeof(*checked));
    checked->publishers = 1000000;
    checked->last = calloc(checked->publishers, sizeof(uint32_t));
    assert_non_null(hs_topic_hub_subscribe(hub, "t", 1, check, checked));
    pid_t pid = fork();
    if (pid == 0)
        publish_until_killed(topics, 0, 0);
    char text[HS_TOPIC_MESSAGE_MAX];
    for (uint32_t round = 1; round <= 20; round++) {
        read_for(hub, 2000);
        kill(pid, SIGSTOP);
        waitpid(pid, NULL, WUNTRACED);
        uint64_t until_ms = hs_clock_monotonic_ms() + 5 * HS_TOPICS_STALL_MS;
        uint32_t number = 0;
        do { /* more than once around */
            (void)hs_topics_publish(topics, "t", 1, text, text_of(text, round, number++));
            (void)hs_topic_hub_dispatch(hub, 1000);
            assert_true(hs_clock_monotonic_ms() < until_ms);
        } while (checked->last[round] < 300 && number < 1000000);
        kill(pid, SIGCONT);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_int_equal(checked->wrong, 0);
    hs_topic_hub_free(hub);
    hs_topics_free(topics);
    free(checked->last);
    free(checked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_publishers_neither_stop_nor_tear),
        cmocka_unit_test(a_publisher_that_stands_still_stops_readers_for_a_limited_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
