/* The one translation unit that holds the code of hs_ev.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "base/hs_alloc.h"

#define HS_EV_MALLOC(size) hs_alloc(size)
#define HS_EV_FREE(pointer) hs_free(pointer)
#define HS_EV_IMPLEMENTATION
#include "os/hs_ev.h"
