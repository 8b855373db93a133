/*
 * Why an operation on an outbound socket failed, in short names for programs ('timeout', 'closed',
 * 'refused'...) and people.
 */
#pragma once

#include "net/hs_resolver.h"

typedef enum hs_failure_kind {
    HS_FAILURE_NONE,
    HS_FAILURE_TIMEOUT,
    HS_FAILURE_CLOSED,      /* by the peer, or here */
    HS_FAILURE_REFUSED,     /* nothing listens there */
    HS_FAILURE_UNREACHABLE, /* no way to that address */
    HS_FAILURE_NOT_FOUND,   /* no such host name */
    HS_FAILURE_RESOLVER,    /* name servers failed */
    HS_FAILURE_RESOLVER_TIMEOUT,
    HS_FAILURE_RESOLVER_BUSY,
    HS_FAILURE_CERTIFICATE, /* detail: why the peer's is not accepted */
    HS_FAILURE_TLS,         /* detail */
    HS_FAILURE_QUEUE_FULL,  /* of those waiting for a pooled connection */
    HS_FAILURE_TOO_LONG,    /* the data to read is longer than the limit */
    HS_FAILURE_LIMIT,       /* too many sockets */
    HS_FAILURE_NO_MEMORY,
    HS_FAILURE_BUSY,          /* another task is waiting for the same direction */
    HS_FAILURE_NOT_CONNECTED, /* and never was */
    HS_FAILURE_SYSTEM,        /* sys_errno */
} hs_failure_kind_t;

#define HS_FAILURE_DETAIL_CAP 128

typedef struct hs_failure {
    hs_failure_kind_t kind;
    int sys_errno;
    char detail[HS_FAILURE_DETAIL_CAP]; /* CERTIFICATE, TLS */
} hs_failure_t;

hs_failure_t hs_failure_of(hs_failure_kind_t kind);

/* From the errno of a failed connection or connect. */
hs_failure_t hs_failure_of_errno(int sys_errno);

/* For a name that could not be resolved. */
hs_failure_t hs_failure_of_resolved(hs_resolved_t resolved);

/* Up to `size` bytes with the NUL; at most HS_FAILURE_TEXT_CAP are needed. Returns the length. */
#define HS_FAILURE_TEXT_CAP (HS_FAILURE_DETAIL_CAP + 32)
size_t hs_failure_text(const hs_failure_t *failure, char *text, size_t size);
