/*
 * Errors: an int that is 0 (or a positive result) or a negative hs_err_t. Setup calls also fill an
 * hs_errinfo_t with a message about what failed, so that no message is formatted on a hot path.
 */
#pragma once

#include <stdarg.h>
#include <stdio.h>

#include "base/hs_base.h"

typedef enum hs_err {
    HS_OK = 0,
    HS_ERR_NOMEM = -1,   /* an allocation failed, or a cap on memory was reached */
    HS_ERR_SYSTEM = -2,  /* a system call failed: see hs_errinfo_t.sys_errno */
    HS_ERR_INVALID = -3, /* an argument is outside its documented range */
    HS_ERR_STATE = -4,   /* the object is in a state that does not allow this call */
    HS_ERR_LIMIT = -5,   /* a configured limit would be exceeded */
    HS_ERR_HANDLER = -6, /* the handler could not be loaded */
    HS_ERR_ABORTED = -7, /* the client is gone */
} hs_err_t;

#define HS_ERRINFO_TEXT_CAP 4096 /* a module that is not found names every searched path */

typedef struct hs_errinfo {
    hs_err_t code;
    int sys_errno; /* errno of the failed call, 0 if none */
    char text[HS_ERRINFO_TEXT_CAP];
} hs_errinfo_t;

/* Fills `info` (which may be NULL) and returns `code`, so that a caller can write `return
 * hs_errinfo_set(...)`. */
HS_PRINTF(4, 5)
static inline int hs_errinfo_set(hs_errinfo_t *info, hs_err_t code, int sys_errno,
                                 const char *format, ...)
{
    if (info == NULL)
        return code;
    info->code = code;
    info->sys_errno = sys_errno;
    va_list args;
    va_start(args, format);
    vsnprintf(info->text, sizeof(info->text), format, args);
    va_end(args);
    return code;
}
