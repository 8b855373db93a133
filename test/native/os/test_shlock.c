/*
 * os/hs_shlock.h between processes: mutual exclusion, and that the next owner after a killed one is
 * told. Built twice: with the lock of this system, and with the one for systems without robust
 * mutexes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/hs_shlock.h"

#define PROCESSES 4
#define TIMES 20000
/* No step of a test takes this long, however busy the machine is. */
#define STUCK_S 120

typedef struct shared {
    hs_shlock_t lock;
    uint64_t count; /* owner: the holder of the lock */
    _Atomic int is_taken;
} shared_t;

static int set_up(void **state)
{
    shared_t *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    assert_int_equal(hs_shlock_init(&shared->lock), 0);
    *state = shared;
    (void)alarm(STUCK_S);
    return 0;
}

static int tear_down(void **state)
{
    (void)alarm(0);
    return munmap(*state, sizeof(shared_t));
}

static void one_process_at_a_time_has_it(void **state)
{
    shared_t *shared = *state;
    for (int p = 0; p < PROCESSES; p++) {
        if (fork() != 0)
            continue;
        for (int i = 0; i < TIMES; i++) {
            if (hs_shlock_take(&shared->lock) != HS_SHLOCK_TAKEN)
                _exit(1);
            shared->count++;
            hs_shlock_release(&shared->lock);
        }
        _exit(0);
    }
    for (int p = 0; p < PROCESSES; p++) {
        int status = -1;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    assert_int_equal(shared->count, PROCESSES * TIMES);
}

/* A process that takes the lock and is killed while it holds it. */
static void die_with_it(shared_t *shared)
{
    atomic_store(&shared->is_taken, 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)hs_shlock_take(&shared->lock);
        atomic_store(&shared->is_taken, 1);
        for (;;)
            (void)pause();
    }
    while (!atomic_load(&shared->is_taken))
        (void)usleep(100);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void who_comes_after_a_killed_owner_is_told(void **state)
{
    shared_t *shared = *state;
    die_with_it(shared);
    assert_int_equal(hs_shlock_take(&shared->lock), HS_SHLOCK_ORPHANED);
    hs_shlock_release(&shared->lock);
    assert_int_equal(hs_shlock_take(&shared->lock), HS_SHLOCK_TAKEN);
    hs_shlock_release(&shared->lock);
    die_with_it(shared);
    die_with_it(shared); /* before it would have repaired */
    assert_int_equal(hs_shlock_take(&shared->lock), HS_SHLOCK_ORPHANED);
    hs_shlock_release(&shared->lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_process_at_a_time_has_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_comes_after_a_killed_owner_is_told, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("shlock", tests, NULL, NULL);
}
