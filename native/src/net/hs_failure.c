#include "net/hs_failure.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

hs_failure_t hs_failure_of(hs_failure_kind_t kind)
{
    return (hs_failure_t){ .kind = kind };
}

hs_failure_t hs_failure_of_errno(int sys_errno)
{
    hs_failure_t failure = { .kind = HS_FAILURE_SYSTEM, .sys_errno = sys_errno };
    switch (sys_errno) {
    case ECONNREFUSED:
    case ENOENT: /* a nonexistent Unix socket */
        failure.kind = HS_FAILURE_REFUSED;
        break;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case EADDRNOTAVAIL:
    case ENETDOWN:
    case EHOSTDOWN:
    case EAFNOSUPPORT:
        failure.kind = HS_FAILURE_UNREACHABLE;
        break;
    case ETIMEDOUT:
        failure.kind = HS_FAILURE_TIMEOUT;
        break;
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
        failure.kind = HS_FAILURE_CLOSED;
        break;
    case ENOMEM:
    case ENOBUFS:
        failure.kind = HS_FAILURE_NO_MEMORY;
        break;
    default:
        break;
    }
    return failure;
}

static const char *words_of(hs_failure_kind_t kind)
{
    switch (kind) {
    case HS_FAILURE_NONE:
        return "no error";
    case HS_FAILURE_TIMEOUT:
        return "timeout";
    case HS_FAILURE_CLOSED:
        return "closed";
    case HS_FAILURE_REFUSED:
        return "refused";
    case HS_FAILURE_UNREACHABLE:
        return "unreachable";
    case HS_FAILURE_NOT_FOUND:
        return "host not found";
    case HS_FAILURE_RESOLVER:
        return "resolver failed";
    case HS_FAILURE_RESOLVER_TIMEOUT:
        return "resolver timeout";
    case HS_FAILURE_RESOLVER_BUSY:
        return "resolver busy";
    case HS_FAILURE_CERTIFICATE:
        return "certificate: ";
    case HS_FAILURE_TLS:
        return "TLS: ";
    case HS_FAILURE_QUEUE_FULL:
        return "pool queue full";
    case HS_FAILURE_TOO_LONG:
        return "too long";
    case HS_FAILURE_LIMIT:
        return "too many sockets";
    case HS_FAILURE_NO_MEMORY:
        return "out of memory";
    case HS_FAILURE_BUSY:
        return "busy";
    case HS_FAILURE_NOT_CONNECTED:
        return "not connected";
    case HS_FAILURE_SYSTEM:
        break;
    }
    return NULL;
}

hs_failure_t hs_failure_of_resolved(hs_resolved_t resolved)
{
    switch (resolved) {
    case HS_RESOLVED_NOT_FOUND:
        return hs_failure_of(HS_FAILURE_NOT_FOUND);
    case HS_RESOLVED_BUSY:
        return hs_failure_of(HS_FAILURE_RESOLVER_BUSY);
    case HS_RESOLVED_NO_MEMORY:
        return hs_failure_of(HS_FAILURE_NO_MEMORY);
    case HS_RESOLVED_FAILED:
    case HS_RESOLVED_FOUND:
    case HS_RESOLVED_LATER:
        break;
    }
    return hs_failure_of(HS_FAILURE_RESOLVER);
}

size_t hs_failure_text(const hs_failure_t *failure, char *text, size_t size)
{
    const char *words = words_of(failure->kind);
    if (words == NULL)
        words = strerror(failure->sys_errno);
    int len = snprintf(text, size, "%s%s", words, failure->detail);
    return hs_min((size_t)len, size - 1);
}
