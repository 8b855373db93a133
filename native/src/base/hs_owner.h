/*
 * Which thread owns a struct, checked in debug builds and free in others. An owner mark is handed
 * over with its struct: the thread that takes the struct (through a queue, with acquire) takes the
 * mark.
 */
#pragma once

#include <pthread.h>

#include "base/hs_base.h"

#ifdef HS_DEBUG
typedef struct hs_owner {
    pthread_t thread;
    bool owned;
} hs_owner_t;

#define HS_OWNER_TAKE(mark) ((mark) = (hs_owner_t){ pthread_self(), true })
#define HS_OWNER_RELEASE(mark) ((mark).owned = false)
#define HS_ASSERT_OWNER(mark) HS_ASSERT((mark).owned &&pthread_equal((mark).thread, pthread_self()))
#else
typedef struct hs_owner {
    char nothing;
} hs_owner_t;

#define HS_OWNER_TAKE(mark) ((void)(mark))
#define HS_OWNER_RELEASE(mark) ((void)(mark))
#define HS_ASSERT_OWNER(mark) ((void)(mark))
#endif
