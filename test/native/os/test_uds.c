/* hs_sock: Unix sockets and their files. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/hs_sock.h"

/* A temporary directory for each test, and the path of the socket in it. */
typedef struct place {
    char dir[64];
    char path[80];
} place_t;

static int setup(void **state)
{
    place_t *place = calloc(1, sizeof(*place));
    if (place == NULL)
        return 1;
    (void)snprintf(place->dir, sizeof(place->dir), "/tmp/moonring-uds-XXXXXX");
    if (mkdtemp(place->dir) == NULL) {
        free(place);
        return 1;
    }
    (void)snprintf(place->path, sizeof(place->path), "%s/sock", place->dir);
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    place_t *place = *state;
    (void)unlink(place->path);
    int failed = rmdir(place->dir);
    free(place);
    return failed;
}

static int connect_to(const char *path, int flags)
{
    struct sockaddr_un address;
    memset(&address, 0, sizeof(address));
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | flags, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

static ino_t inode_of(const char *path)
{
    struct stat file;
    assert_int_equal(lstat(path, &file), 0);
    return file.st_ino;
}

static void it_serves_and_knows_its_addresses(void **state)
{
    const place_t *place = *state;
    int listener = hs_sock_listen_uds(place->path, 0600, 16, NULL);
    assert_true(listener >= 0);
    assert_true(fcntl(listener, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(listener, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(hs_sock_accept(listener, NULL), -EAGAIN);
    int client = connect_to(place->path, 0);
    assert_true(client >= 0);
    int server = hs_sock_accept(listener, NULL);
    assert_true(server >= 0);
    hs_sock_address_t address;
    assert_int_equal(hs_sock_local_address(listener, &address), 0);
    assert_int_equal(address.family, 1);
    assert_int_equal(address.port, 0);
    assert_string_equal(address.text, place->path);
    assert_int_equal(hs_sock_peer_address(server, &address), 0);
    assert_int_equal(address.family, 1);
    assert_string_equal(address.text, ""); /* clients are unnamed */
    assert_int_equal(hs_sock_peer_address(listener, &address), -ENOTCONN);
    hs_sock_close(server);
    hs_sock_close(client);
    hs_sock_close(listener);
}

static void the_mode_is_as_asked_whatever_the_umask(void **state)
{
    const place_t *place = *state;
    const unsigned modes[] = { 0600, 0660, 0666 };
    const mode_t masks[] = { 0, 077 };
    for (int i = 0; i < 6; i++) {
        mode_t old = umask(masks[i % 2]);
        int listener = hs_sock_listen_uds(place->path, modes[i / 2], 16, NULL);
        (void)umask(old);
        assert_true(listener >= 0);
        struct stat file;
        assert_int_equal(stat(place->path, &file), 0);
        assert_int_equal(file.st_mode & 07777, modes[i / 2]);
        hs_sock_close(listener);
    }
}

static void a_stale_file_is_replaced(void **state)
{
    const place_t *place = *state;
    int first = hs_sock_listen_uds(place->path, 0600, 16, NULL);
    assert_true(first >= 0);
    hs_sock_close(first); /* like a crash: the file stays */
    assert_int_equal(connect_to(place->path, 0), -1);
    int second = hs_sock_listen_uds(place->path, 0600, 16, NULL);
    assert_true(second >= 0);
    int client = connect_to(place->path, 0);
    assert_true(client >= 0);
    hs_sock_close(client);
    hs_sock_close(second);
}

static void assert_in_use(const char *path)
{
    ino_t inode = inode_of(path);
    hs_errinfo_t err = { 0 };
    assert_int_equal(hs_sock_listen_uds(path, 0600, 16, &err), HS_ERR_SYSTEM);
    assert_int_equal(err.sys_errno, EADDRINUSE);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(inode_of(path), inode);
}

static void a_live_one_is_refused(void **state)
{
    const place_t *place = *state;
    int listener = hs_sock_listen_uds(place->path, 0600, 1, NULL);
    assert_true(listener >= 0);
    assert_in_use(place->path);
    int clients[16]; /* a full backlog is alive too */
    int count = 0;
    while (count < 16 && (clients[count] = connect_to(place->path, SOCK_NONBLOCK)) >= 0)
        count++;
    assert_in_range(count, 1, 15);
    assert_in_use(place->path);
    while (count > 0)
        close(clients[--count]);
    hs_sock_close(listener);
}

static void a_live_datagram_socket_is_refused(void **state)
{
    const place_t *place = *state;
    struct sockaddr_un address;
    memset(&address, 0, sizeof(address));
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, place->path, strlen(place->path) + 1);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_in_use(place->path);
    close(fd);
}

static void another_file_is_left_alone(void **state)
{
    const place_t *place = *state;
    int file = open(place->path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    assert_int_equal(write(file, "precious", 8), 8);
    hs_errinfo_t err = { 0 };
    assert_int_equal(hs_sock_listen_uds(place->path, 0600, 16, &err), HS_ERR_SYSTEM);
    assert_int_equal(err.sys_errno, ENOTSOCK);
    assert_non_null(strstr(err.text, place->path));
    char content[16];
    assert_int_equal(pread(file, content, sizeof(content), 0), 8);
    close(file);

    assert_int_equal(unlink(place->path), 0);
    assert_int_equal(symlink("nowhere", place->path), 0);
    assert_int_equal(hs_sock_listen_uds(place->path, 0600, 16, &err), HS_ERR_SYSTEM);
    assert_int_equal(err.sys_errno, ENOTSOCK);
}

static void only_the_own_file_is_removed(void **state)
{
    const place_t *place = *state;
    hs_errinfo_t err = { 0 };
    int first = hs_sock_listen_uds(place->path, 0600, 1, &err);
    assert_true(first >= 0);
    const hs_sock_file_t file = hs_sock_file_at(place->path);
    assert_int_equal(unlink(place->path), 0);
    int second = hs_sock_listen_uds(place->path, 0600, 1, &err);
    assert_true(second >= 0);
    hs_sock_remove_file(place->path, file);
    assert_int_equal(access(place->path, F_OK), 0);
    const hs_sock_file_t other = hs_sock_file_at(place->path);
    hs_sock_remove_file(place->path, other);
    assert_int_equal(access(place->path, F_OK), -1);
    hs_sock_remove_file(place->path, other);
    hs_sock_remove_file(place->path, hs_sock_file_at(place->path));
    hs_sock_close(first);
    hs_sock_close(second);
}

static void bad_arguments_are_refused(void **state)
{
    const place_t *place = *state;
    hs_errinfo_t err = { 0 };
    char path[256];
    memset(path, 'a', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(hs_sock_listen_uds(path, 0600, 16, &err), HS_ERR_INVALID);
    assert_int_equal(err.sys_errno, ENAMETOOLONG);
    assert_int_equal(hs_sock_listen_uds("", 0600, 16, &err), HS_ERR_INVALID);
    assert_int_equal(hs_sock_listen_uds(place->path, 01000, 16, &err), HS_ERR_INVALID);
    assert_int_equal(hs_sock_listen_uds(place->path, 0600, 0, &err), HS_ERR_INVALID);
    (void)snprintf(path, sizeof(path), "%s/none/sock", place->dir);
    assert_int_equal(hs_sock_listen_uds(path, 0600, 16, &err), HS_ERR_SYSTEM);
    assert_int_equal(err.sys_errno, ENOENT);
    assert_int_equal(access(place->path, F_OK), -1);
}

static void the_longest_path_is_reported_whole(void **state)
{
    (void)state;
    /* Not bound in a file system: sun_path is full except for the NUL. */
    struct sockaddr_un address;
    char path[sizeof(address.sun_path)];
    memset(path, 0, sizeof(path));
    (void)snprintf(path, sizeof(path), "/tmp/moonring-uds-%ld-", (long)getpid());
    size_t len = strlen(path);
    memset(path + len, 'a', sizeof(path) - 1 - len);
    int listener = hs_sock_listen_uds(path, 0600, 16, NULL);
    assert_true(listener >= 0);
    hs_sock_address_t found;
    assert_int_equal(hs_sock_local_address(listener, &found), 0);
    assert_string_equal(found.text, path);
    assert_int_equal(unlink(path), 0);
    hs_sock_close(listener);
}

#ifdef __linux__
static void an_abstract_name_is_shown_with_an_at(void **state)
{
    (void)state;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    socklen_t len = sizeof(address.sun_family); /* the kernel chooses */
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    hs_sock_address_t found;
    assert_int_equal(hs_sock_local_address(fd, &found), 0);
    assert_int_equal(found.text[0], '@');
    assert_int_equal(strlen(found.text), 6);
    close(fd);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(it_serves_and_knows_its_addresses),
        TEST(the_mode_is_as_asked_whatever_the_umask),
        TEST(a_stale_file_is_replaced),
        TEST(a_live_one_is_refused),
        TEST(a_live_datagram_socket_is_refused),
        TEST(another_file_is_left_alone),
        TEST(only_the_own_file_is_removed),
        TEST(bad_arguments_are_refused),
        TEST(the_longest_path_is_reported_whole),
#ifdef __linux__
        TEST(an_abstract_name_is_shown_with_an_at),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
