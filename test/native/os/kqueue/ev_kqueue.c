/* hs_ev.h with the kqueue backend, in place of native/src/os/hs_ev.c. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#define HS_EV_USE_KQUEUE
#define HS_EV_IMPLEMENTATION
#include "os/hs_ev.h"
