#define OPENSSL_API_COMPAT 30000
#define OPENSSL_NO_DEPRECATED

#include "net/hs_tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <unistd.h>

#include "os/hs_sock.h"

/* Content of one record. */
#define RECORD_CONTENT (16 * 1024)
/* Bytes per receive, and content written before its records are sent. */
#define BATCH_BYTES (64 * 1024)
/* Overhead of records: an upper bound for their headers and tags. */
#define OVERHEAD 1024
/* Record buffer kept between two calls. */
#define KEEP_OUT (BATCH_BYTES + 2 * OVERHEAD)

/* --- failures --- */

hs_failure_t hs_tls_failure_of(const char *problem, const char *what)
{
    hs_failure_t failure = hs_failure_of(HS_FAILURE_TLS);
    (void)snprintf(failure.detail, sizeof(failure.detail), "%s%s", problem, what);
    return failure;
}

const char *hs_tls_reason(void)
{
    unsigned long code = ERR_peek_error();
    const char *text = code != 0 ? ERR_reason_error_string(code) : NULL;
    return text != NULL ? text : "protocol error";
}

static void note_failure(hs_tls_t *tls)
{
    if (tls->failure.kind != HS_FAILURE_NONE)
        return;
    long verified = SSL_get_verify_result(tls->ssl);
    tls->is_plain = ERR_GET_REASON(ERR_peek_error()) == SSL_R_HTTP_REQUEST;
    if (!tls->ready && SSL_get_verify_mode(tls->ssl) != SSL_VERIFY_NONE && verified != X509_V_OK) {
        tls->failure = hs_failure_of(HS_FAILURE_CERTIFICATE);
        (void)snprintf(tls->failure.detail, sizeof(tls->failure.detail), "%s",
                       X509_verify_cert_error_string(verified));
    } else {
        tls->failure = hs_tls_failure_of("", hs_tls_reason());
    }
}

/* --- OpenSSL's side of the wire --- */

/* Bytes of the descriptor into wire->in. False: it has none now. */
static bool receive_records(hs_tls_wire_t *wire)
{
    if (wire->is_dry)
        return false;
    size_t room = hs_min(wire->wants + OVERHEAD, (size_t)BATCH_BYTES);
    ptrdiff_t received;
    do {
        struct iovec iov = { wire->in, room };
        received = hs_sock_recv(wire->fd, &iov, 1);
    } while (received == -EINTR);
    /* A short read has emptied the socket. */
    wire->is_dry = received < (ptrdiff_t)room;
    wire->is_short = wire->is_dry && received > 0;
    wire->stopped = received > 0 ? -EAGAIN : (int)received;
    wire->in_at = 0;
    wire->in_len = received > 0 ? (size_t)received : 0;
    return received > 0;
}

static size_t take(char *to, size_t room, const char *from, size_t *at, size_t end)
{
    size_t part = hs_min(room, end - *at);
    memcpy(to, from + *at, part);
    *at += part;
    return part;
}

static int wire_read(BIO *bio, char *to, int room)
{
    hs_tls_wire_t *wire = BIO_get_data(bio);
    hs_tls_t *tls = wire->tls;
    BIO_clear_retry_flags(bio);
    if (tls->unread_at < tls->unread.len)
        return (int)take(to, (size_t)room, tls->unread.data, &tls->unread_at, tls->unread.len);
    if (wire->in_at == wire->in_len && !receive_records(wire)) {
        BIO_set_retry_read(bio);
        return -1;
    }
    return (int)take(to, (size_t)room, wire->in, &wire->in_at, wire->in_len);
}

static int wire_write(BIO *bio, const char *data, int len)
{
    hs_tls_wire_t *wire = BIO_get_data(bio);
    return hs_buf_append(&wire->out, data, (size_t)len) ? len : -1;
}

static long wire_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static bool open_wire(hs_tls_wire_t *wire)
{
    if (wire->bio != NULL)
        return true;
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "wire");
    BIO *bio = method != NULL ? BIO_new(method) : NULL;
    char *in = bio != NULL ? hs_alloc(BATCH_BYTES) : NULL;
    if (in == NULL) {
        BIO_free(bio);
        BIO_meth_free(method);
        return false;
    }
    BIO_meth_set_read(method, wire_read);
    BIO_meth_set_write(method, wire_write);
    BIO_meth_set_ctrl(method, wire_control);
    BIO_set_data(bio, wire);
    BIO_set_init(bio, 1);
    wire->in = in;
    wire->method = method;
    wire->bio = bio;
    return true;
}

void hs_tls_wire_free(hs_tls_wire_t *wire)
{
    BIO_free(wire->bio);
    BIO_meth_free(wire->method);
    hs_free(wire->in);
    hs_buf_free(&wire->out);
    *wire = (hs_tls_wire_t){ 0 };
}

/* --- a connection --- */

bool hs_tls_init(hs_tls_t *tls, hs_tls_wire_t *wire, SSL_CTX *ctx, bool is_server)
{
    SSL *ssl = open_wire(wire) ? SSL_new(ctx) : NULL;
    if (ssl == NULL)
        return false;
    BIO_up_ref(wire->bio);
    SSL_set_bio(ssl, wire->bio, wire->bio);
    if (is_server)
        SSL_set_accept_state(ssl);
    else
        SSL_set_connect_state(ssl);
    SSL_set_app_data(ssl, tls);
    tls->ssl = ssl;
    tls->wire = wire;
    return true;
}

void hs_tls_clear(hs_tls_t *tls)
{
    SSL_free(tls->ssl);
    hs_buf_free(&tls->unread);
    hs_buf_free(&tls->unsent);
    tls->ssl = NULL;
}

bool hs_tls_feed(hs_tls_t *tls, const char *data, size_t len)
{
    return hs_buf_append(&tls->unread, data, len);
}

bool hs_tls_is_over(const hs_tls_t *tls)
{
    return (SSL_get_shutdown(tls->ssl) & SSL_RECEIVED_SHUTDOWN) != 0;
}

bool hs_tls_is_resumed(const hs_tls_t *tls)
{
    return SSL_session_reused(tls->ssl) == 1;
}

static void begin(hs_tls_t *tls, int fd, size_t wants)
{
    hs_tls_wire_t *wire = tls->wire;
    wire->tls = tls;
    wire->fd = fd;
    wire->wants = wants;
    wire->is_dry = wire->is_short = false;
    wire->stopped = -EAGAIN;
    wire->in_at = wire->in_len = 0;
}

/* Received bytes not yet consumed by OpenSSL belong only to this connection. */
static bool keep_unread(hs_tls_t *tls)
{
    hs_tls_wire_t *wire = tls->wire;
    if (tls->unread_at == tls->unread.len) {
        tls->unread_at = 0;
        hs_buf_reset(&tls->unread, 0);
    }
    size_t left = wire->in_len - wire->in_at;
    bool kept = left == 0 || hs_buf_append(&tls->unread, wire->in + wire->in_at, left);
    wire->in_at = wire->in_len = 0;
    return kept;
}

static int send_from(int fd, const hs_buf_t *from, size_t *at)
{
    while (*at < from->len) {
        struct iovec iov = { from->data + *at, from->len - *at };
        ptrdiff_t sent = hs_sock_send(fd, &iov, 1);
        if (sent < 0)
            return (int)sent;
        *at += (size_t)sent;
    }
    return 0;
}

/* OpenSSL's output is appended to what the descriptor has not accepted. */
static int send_records(hs_tls_t *tls)
{
    hs_tls_wire_t *wire = tls->wire;
    int result = 0;
    size_t at = 0;
    if (tls->unsent.len > 0) {
        result = send_from(wire->fd, &tls->unsent, &tls->unsent_at);
        if (result == 0) {
            tls->unsent_at = 0;
            hs_buf_reset(&tls->unsent, 0);
        }
    }
    if (result == 0)
        result = send_from(wire->fd, &wire->out, &at);
    if (at < wire->out.len && !hs_buf_append(&tls->unsent, wire->out.data + at, wire->out.len - at))
        result = -ENOMEM;
    hs_buf_reset(&wire->out, KEEP_OUT);
    return result;
}

int hs_tls_flush(hs_tls_t *tls, int fd)
{
    begin(tls, fd, 0);
    if (!tls->ready && tls->failure.kind == HS_FAILURE_NONE) {
        tls->wire->is_dry = true; /* recv handles incoming data and the outcome */
        ERR_clear_error();
        (void)SSL_do_handshake(tls->ssl);
    }
    return send_records(tls);
}

/* One step: bytes of content > 0; 0: the end; -EAGAIN: the descriptor has no more; else an error.
 */
static int step(hs_tls_t *tls, void *to, size_t room)
{
    for (;;) {
        ERR_clear_error();
        int result = tls->ready ? SSL_read(tls->ssl, to, (int)hs_min(room, 1 << 30))
                                : SSL_do_handshake(tls->ssl);
        int error = result > 0 ? SSL_ERROR_NONE : SSL_get_error(tls->ssl, result);
        bool waits = error == SSL_ERROR_WANT_READ;
        if (error != SSL_ERROR_NONE && !waits && error != SSL_ERROR_ZERO_RETURN)
            note_failure(tls);
        /* Protocol messages, and the alert that tells the peer what is wrong. */
        if (tls->wire->out.len > 0) {
            int sent = send_records(tls);
            if (sent < 0 && sent != -EAGAIN)
                return sent;
        }
        if (result > 0 && tls->ready)
            return result;
        if (result > 0) {
            tls->ready = true;
            continue;
        }
        if (error == SSL_ERROR_ZERO_RETURN)
            return 0;
        if (!waits)
            return -EPROTO;
        int stopped = tls->wire->stopped;
        return stopped == 0 && !tls->ready ? -ECONNRESET : stopped;
    }
}

/* Whether another SSL_read could find nothing. */
static bool has_taken_all(const hs_tls_t *tls)
{
    const hs_tls_wire_t *wire = tls->wire;
    return wire->is_dry && wire->in_at == wire->in_len && tls->unread_at == tls->unread.len &&
           SSL_has_pending(tls->ssl) == 0;
}

static ptrdiff_t receive(hs_tls_t *tls, struct iovec *iov, int count)
{
    size_t total = 0;
    for (int i = 0; i < count; i++) {
        for (size_t at = 0; at < iov[i].iov_len;) {
            int result = step(tls, (char *)iov[i].iov_base + at, iov[i].iov_len - at);
            if (result > 0) {
                at += (size_t)result;
                total += (size_t)result;
                if (has_taken_all(tls))
                    return (ptrdiff_t)total;
                continue;
            }
            /* Part of a record: unless there is content, nothing else asks for what follows. */
            if (result == -EAGAIN && total == 0 && tls->wire->is_short) {
                tls->wire->is_dry = tls->wire->is_short = false;
                continue;
            }
            tls->ended = tls->ended || result == 0;
            if (total == 0)
                return result;
            tls->pending = result == -EAGAIN ? 0 : result;
            return (ptrdiff_t)total;
        }
    }
    return (ptrdiff_t)total;
}

ptrdiff_t hs_tls_recv(hs_tls_t *tls, int fd, struct iovec *iov, int count)
{
    size_t room = 0;
    if (tls->pending != 0 || tls->ended)
        return tls->pending;
    for (int i = 0; i < count; i++)
        room += iov[i].iov_len;
    begin(tls, fd, room);
    ptrdiff_t received = receive(tls, iov, count);
    return keep_unread(tls) ? received : -ENOMEM;
}

/*
 * Content counts as sent when the kernel has its records: unsent content stays at the head of the
 * output chain for the next call, and a full descriptor looks full.
 */
ptrdiff_t hs_tls_send(hs_tls_t *tls, int fd, struct iovec *iov, int count)
{
    if (!tls->ready)
        return -EAGAIN;
    begin(tls, fd, 0);
    tls->wire->is_dry = true;
    int sent = send_records(tls);
    if (sent < 0)
        return sent;
    size_t skip = tls->accepted;
    size_t total = skip;
    size_t batch = 0;
    /* Doubling would end above what is kept, and would be paid for with each batch. */
    if (!hs_buf_reserve_exact(&tls->wire->out, KEEP_OUT))
        return -ENOMEM;
    tls->accepted = 0;
    for (int i = 0; i < count; i++) {
        size_t at = hs_min(skip, iov[i].iov_len);
        skip -= at;
        while (at < iov[i].iov_len) {
            size_t content = hs_min(iov[i].iov_len - at, (size_t)RECORD_CONTENT);
            ERR_clear_error();
            int written = SSL_write(tls->ssl, (const char *)iov[i].iov_base + at, (int)content);
            if (written <= 0) {
                note_failure(tls);
                return -EPROTO;
            }
            at += (size_t)written;
            batch += (size_t)written;
            bool is_last = i == count - 1 && at == iov[i].iov_len;
            if (batch < BATCH_BYTES && !is_last)
                continue;
            sent = send_records(tls);
            if (sent < 0) {
                tls->accepted = batch;
                return sent == -EAGAIN && total > 0 ? (ptrdiff_t)total : sent;
            }
            total += batch;
            batch = 0;
        }
    }
    return (ptrdiff_t)total;
}

ptrdiff_t hs_tls_sendfile(hs_tls_t *tls, int fd, int file, uint64_t offset, size_t len)
{
    if (!tls->ready)
        return -EAGAIN;
    /* At most one batch, so that what was accepted is always within it. */
    ssize_t got = pread(file, tls->wire->in, hs_min(len, (size_t)BATCH_BYTES), (off_t)offset);
    if (got <= 0)
        return got < 0 ? -errno : 0;
    struct iovec iov = { tls->wire->in, (size_t)got };
    /* The file became shorter than what was accepted of it. */
    if ((size_t)got < tls->accepted)
        return -EIO;
    return hs_tls_send(tls, fd, &iov, 1);
}

void hs_tls_end(hs_tls_t *tls, int fd)
{
    if (!tls->ready || tls->failure.kind != HS_FAILURE_NONE)
        return;
    begin(tls, fd, 0);
    tls->wire->is_dry = true;
    ERR_clear_error();
    (void)SSL_shutdown(tls->ssl);
    (void)send_records(tls);
}
