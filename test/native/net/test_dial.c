/* Connecting by name: the resolver's cache and threads, and which of several addresses is used. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>

#include "base/hs_cond.h"
#include "net/net_rig.h"
#include "os/hs_thread.h"

/* A resolver that responds as the test says. owner: the test; all under the lock */
typedef struct names {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const char *addresses[4];
    size_t count;
    int failure; /* instead */
    bool hangs;  /* until this is cleared */
    unsigned calls;
    unsigned running;
} names_t;

static int answer(void *context, const char *host, hs_sock_endpoint_t *endpoints, size_t max)
{
    names_t *names = context;
    (void)host;
    pthread_mutex_lock(&names->lock);
    names->calls++;
    names->running++;
    while (names->hangs)
        pthread_cond_wait(&names->changed, &names->lock);
    int result = names->failure;
    if (result == 0) {
        result = (int)hs_min(names->count, max);
        for (size_t i = 0; i < (size_t)result; i++)
            if (hs_sock_endpoint_tcp(&endpoints[i], names->addresses[i], 0) != HS_OK)
                result = HS_NAMES_FAILED;
    }
    names->running--;
    pthread_cond_broadcast(&names->changed);
    pthread_mutex_unlock(&names->lock);
    return result;
}

static void names_open(names_t *names, rig_t *rig, const char *address)
{
    *names = (names_t){ .addresses = { address }, .count = 1 };
    pthread_mutex_init(&names->lock, NULL);
    pthread_cond_init(&names->changed, NULL);
    rig_open(rig);
    rig_listen(rig, "127.0.0.1", 64);
    hs_resolver_set(&rig->net.resolver, answer, names);
}

static void names_set(names_t *names, bool hangs, int failure)
{
    pthread_mutex_lock(&names->lock);
    names->hangs = hangs;
    names->failure = failure;
    pthread_cond_broadcast(&names->changed);
    pthread_mutex_unlock(&names->lock);
}

static unsigned names_calls(names_t *names)
{
    pthread_mutex_lock(&names->lock);
    unsigned calls = names->calls;
    pthread_mutex_unlock(&names->lock);
    return calls;
}

/* After the last use of the lock by a lookup thread. */
static void names_close(names_t *names)
{
    names_set(names, false, 0);
    pthread_mutex_lock(&names->lock);
    while (names->running > 0)
        pthread_cond_wait(&names->changed, &names->lock);
    pthread_mutex_unlock(&names->lock);
}

static hs_socket_target_t named(const rig_t *rig, const char *host)
{
    hs_socket_target_t target = target_of(rig);
    target.host = host;
    return target;
}

static void connect_and_close(rig_t *rig, const char *host, hs_failure_kind_t expected)
{
    user_t user;
    user_open(rig, &user);
    hs_socket_target_t target = named(rig, host);
    assert_int_equal(connect_to(rig, &user, &target), expected);
    hs_socket_free(user.socket);
    int fd;
    while (expected == HS_FAILURE_NONE && (fd = hs_sock_accept(rig->listener, NULL)) >= 0)
        hs_sock_close(fd);
}

static void lookups_of_one_name_are_one_and_cached(void **state)
{
    (void)state;
    names_t names;
    rig_t rig;
    user_t users[8];
    names_open(&names, &rig, "127.0.0.1");
    names_set(&names, true, 0);
    hs_socket_target_t target = named(&rig, "upstream.test");
    for (size_t i = 0; i < 8; i++) {
        user_open(&rig, &users[i]);
        assert_int_equal(hs_socket_connect(users[i].socket, &target), HS_SOCKET_WAITS);
    }
    names_set(&names, false, 0);
    for (size_t i = 0; i < 8; i++) {
        TURN_UNTIL(&rig, users[i].done[HS_SOCKET_READ] == 1);
        assert_int_equal(failure_of_side(&users[i], HS_SOCKET_READ), HS_FAILURE_NONE);
        hs_socket_free(users[i].socket);
    }
    connect_and_close(&rig, "upstream.test", HS_FAILURE_NONE);
    assert_int_equal(names_calls(&names), 1);
    connect_and_close(&rig, "other.test", HS_FAILURE_NONE);
    assert_int_equal(names_calls(&names), 2);
    rig_close(&rig);
    names_close(&names);
}

static void a_name_that_does_not_exist_is_remembered(void **state)
{
    (void)state;
    names_t names;
    rig_t rig;
    names_open(&names, &rig, "127.0.0.1");
    names_set(&names, false, HS_NAMES_NOT_FOUND);
    connect_and_close(&rig, "missing.test", HS_FAILURE_NOT_FOUND);
    connect_and_close(&rig, "missing.test", HS_FAILURE_NOT_FOUND);
    assert_int_equal(names_calls(&names), 1);
    rig_close(&rig);
    names_close(&names);
}

static void a_failure_of_name_servers_is_not_remembered(void **state)
{
    (void)state;
    names_t names;
    rig_t rig;
    names_open(&names, &rig, "127.0.0.1");
    names_set(&names, false, HS_NAMES_FAILED);
    connect_and_close(&rig, "upstream.test", HS_FAILURE_RESOLVER);
    names_set(&names, false, 0);
    connect_and_close(&rig, "upstream.test", HS_FAILURE_NONE);
    assert_int_equal(names_calls(&names), 2);
    rig_close(&rig);
    names_close(&names);
}

static void an_old_answer_serves_while_name_servers_fail_or_hang(void **state)
{
    (void)state;
    names_t names;
    rig_t rig;
    names_open(&names, &rig, "127.0.0.1");
    connect_and_close(&rig, "upstream.test", HS_FAILURE_NONE);
    hs_resolver_age(&rig.net.resolver, HS_RESOLVER_CACHED_MS + 1000);
    names_set(&names, false, HS_NAMES_FAILED);
    connect_and_close(&rig, "upstream.test", HS_FAILURE_NONE);
    assert_int_equal(names_calls(&names), 2);
    names_set(&names, true, 0);
    connect_and_close(&rig, "upstream.test", HS_FAILURE_NONE); /* after HS_RESOLVER_SLOW_MS */
    connect_and_close(&rig, "upstream.test", HS_FAILURE_NONE); /* at once */
    assert_int_equal(names_calls(&names), 3);
    rig_close(&rig);
    names_close(&names);
}

static void an_answer_is_renewed_behind_the_cache(void **state)
{
    (void)state;
    names_t names;
    rig_t rig;
    names_open(&names, &rig, "127.0.0.1");
    connect_and_close(&rig, "upstream.test", HS_FAILURE_NONE);
    hs_resolver_age(&rig.net.resolver, HS_RESOLVER_FRESH_MS + 1000);
    names_set(&names, true, 0);
    connect_and_close(&rig, "upstream.test", HS_FAILURE_NONE);
    names_set(&names, false, 0);
    TURN_UNTIL(&rig, names_calls(&names) == 2);
    rig_close(&rig);
    names_close(&names);
}

static void a_resolver_that_never_answers_holds_up_nothing_else(void **state)
{
    (void)state;
    names_t names;
    rig_t rig;
    user_t user;
    names_open(&names, &rig, "127.0.0.1");
    names_set(&names, true, 0);
    user_open(&rig, &user);
    hs_socket_target_t target = named(&rig, "hangs.test");
    target.timeout_ms = 50;
    assert_int_equal(connect_to(&rig, &user, &target), HS_FAILURE_RESOLVER_TIMEOUT);
    hs_socket_free(user.socket);
    connect_and_close(&rig, "127.0.0.1", HS_FAILURE_NONE);
    TURN_UNTIL(&rig, names_calls(&names) == 1); /* its thread may only begin now */
    rig_close(&rig);                            /* the lookup is still hanging */
    names_close(&names);
}

static void names_beyond_the_queue_are_refused(void **state)
{
    (void)state;
    names_t names;
    rig_t rig;
    static user_t users[HS_RESOLVER_THREADS + HS_RESOLVER_QUEUE + 1];
    const size_t count = sizeof(users) / sizeof(users[0]);
    names_open(&names, &rig, "127.0.0.1");
    names_set(&names, true, 0);
    bool is_full = false;
    for (size_t i = 0; i < count; i++) {
        char host[32];
        snprintf(host, sizeof(host), "name%zu.test", i);
        hs_socket_target_t target = named(&rig, host);
        user_open(&rig, &users[i]);
        if (hs_socket_connect(users[i].socket, &target) == HS_SOCKET_DONE) {
            assert_int_equal(failure_of_side(&users[i], HS_SOCKET_READ), HS_FAILURE_RESOLVER_BUSY);
            is_full = true;
        }
        if (i < HS_RESOLVER_THREADS)
            TURN_UNTIL(&rig, names_calls(&names) == i + 1);
    }
    assert_true(is_full);
    assert_int_equal(names_calls(&names), HS_RESOLVER_THREADS);
    for (size_t i = 0; i < count; i++)
        hs_socket_free(users[i].socket);
    rig_close(&rig);
    names_close(&names);
}

static void the_next_address_is_tried_when_one_refuses(void **state)
{
    (void)state;
    names_t names;
    rig_t rig;
    names_open(&names, &rig, "127.0.0.2"); /* nothing listens there */
    names.addresses[1] = "127.0.0.1";
    names.count = 2;
    connect_and_close(&rig, "upstream.test", HS_FAILURE_NONE);
    assert_int_equal(rig.net.counters.failed, 0);
    names.addresses[1] = "127.0.0.3";
    connect_and_close(&rig, "others.test", HS_FAILURE_REFUSED);
    assert_int_equal(rig.net.counters.failed, 1);
    rig_close(&rig);
    names_close(&names);
}

/* The backlog of the first address is full: connections to it hang. */
static void the_next_address_is_tried_when_one_is_silent(void **state)
{
    (void)state;
    names_t names;
    rig_t rig;
    hs_sock_endpoint_t silent;
    int fillers[8];
    names_open(&names, &rig, "127.0.0.2");
    names.addresses[1] = "127.0.0.1";
    names.count = 2;
    int full = hs_sock_listen_tcp("127.0.0.2", rig.port, 1, 0, NULL);
    assert_true(full >= 0);
    assert_int_equal(hs_sock_endpoint_tcp(&silent, "127.0.0.2", rig.port), HS_OK);
    for (size_t i = 0; i < sizeof(fillers) / sizeof(fillers[0]); i++)
        fillers[i] = hs_sock_connect(&silent);
    uint64_t begun_ms = hs_clock_monotonic_ms();
    connect_and_close(&rig, "upstream.test", HS_FAILURE_NONE);
    assert_true(hs_clock_monotonic_ms() - begun_ms >= HS_DIAL_STAGGER_MS);
    TURN_UNTIL(&rig, rig.net.open == 0);
    user_t user;
    user_open(&rig, &user);
    hs_socket_target_t target = named(&rig, "127.0.0.2");
    target.timeout_ms = 50;
    assert_int_equal(connect_to(&rig, &user, &target), HS_FAILURE_TIMEOUT);
    hs_socket_free(user.socket);
    for (size_t i = 0; i < sizeof(fillers) / sizeof(fillers[0]); i++)
        hs_sock_close(fillers[i]);
    hs_sock_close(full);
    rig_close(&rig);
    names_close(&names);
}

/* No event reports that there is room again: it is retried until the deadline. */
static void a_unix_socket_with_a_full_backlog_is_waited_for(void **state)
{
    (void)state;
    rig_t rig;
    user_t user;
    hs_sock_endpoint_t endpoint;
    int fillers[4];
    char path[64];
    rig_open(&rig);
    snprintf(path, sizeof(path), "/tmp/moonring-dial-%ld.sock", (long)getpid());
    rig.listener = hs_sock_listen_uds(path, 0600, 1, NULL);
    assert_true(rig.listener >= 0);
    assert_int_equal(hs_sock_endpoint_uds(&endpoint, path), HS_OK);
    for (int i = 0; i < 4; i++)
        fillers[i] = hs_sock_connect(&endpoint);
    assert_int_equal(fillers[3], -EAGAIN);
    user_open(&rig, &user);
    hs_socket_target_t target = { .path = path, .timeout_ms = 50 };
    assert_int_equal(connect_to(&rig, &user, &target), HS_FAILURE_TIMEOUT);
    hs_socket_free(user.socket);
    target.timeout_ms = WAIT_MS;
    user_open(&rig, &user);
    assert_int_equal(hs_socket_connect(user.socket, &target), HS_SOCKET_WAITS);
    int first = rig_accept(&rig);
    TURN_UNTIL(&rig, user.done[HS_SOCKET_READ] == 1);
    assert_int_equal(failure_of_side(&user, HS_SOCKET_READ), HS_FAILURE_NONE);
    hs_socket_free(user.socket);
    hs_sock_close(first);
    for (int i = 0; i < 4; i++)
        hs_sock_close(fillers[i]);
    unlink(path);
    rig_close(&rig);
}

static void connections_have_a_limit(void **state)
{
    (void)state;
    rig_t rig;
    user_t user;
    rig_open(&rig);
    rig_listen(&rig, "127.0.0.1", 8);
    /* The buffers of that many. */
    static hs_buffers_t *taken[HS_NET_LINKS_MAX];
    for (size_t i = 0; i < HS_NET_LINKS_MAX; i++)
        assert_non_null(taken[i] = hs_buffers_lease(&rig.net.buffers));
    rig.net.open = HS_NET_LINKS_MAX;
    user_open(&rig, &user);
    hs_socket_target_t target = named(&rig, "127.0.0.1");
    assert_int_equal(connect_to(&rig, &user, &target), HS_FAILURE_LIMIT);
    hs_socket_free(user.socket);
    rig.net.open = 0;
    for (size_t i = 0; i < HS_NET_LINKS_MAX; i++)
        hs_buffers_give_back(&rig.net.buffers, taken[i]);
    connect_and_close(&rig, "127.0.0.1", HS_FAILURE_NONE);
    rig_close(&rig);
}

static void the_system_knows_localhost(void **state)
{
    (void)state;
    rig_t rig;
    rig_open(&rig);
    rig_listen(&rig, "127.0.0.1", 8);
    connect_and_close(&rig, "localhost", HS_FAILURE_NONE);
    user_t user;
    user_open(&rig, &user);
    hs_socket_target_t target = named(&rig, "");
    assert_int_equal(connect_to(&rig, &user, &target), HS_FAILURE_NOT_FOUND);
    hs_socket_free(user.socket);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lookups_of_one_name_are_one_and_cached),
        cmocka_unit_test(a_name_that_does_not_exist_is_remembered),
        cmocka_unit_test(a_failure_of_name_servers_is_not_remembered),
        cmocka_unit_test(an_old_answer_serves_while_name_servers_fail_or_hang),
        cmocka_unit_test(an_answer_is_renewed_behind_the_cache),
        cmocka_unit_test(a_resolver_that_never_answers_holds_up_nothing_else),
        cmocka_unit_test(names_beyond_the_queue_are_refused),
        cmocka_unit_test(the_next_address_is_tried_when_one_refuses),
        cmocka_unit_test(the_next_address_is_tried_when_one_is_silent),
        cmocka_unit_test(a_unix_socket_with_a_full_backlog_is_waited_for),
        cmocka_unit_test(connections_have_a_limit),
        cmocka_unit_test(the_system_knows_localhost),
    };
    return cmocka_run_group_tests_name("dial", tests, NULL, NULL);
}
