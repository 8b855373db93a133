/* This process's memory according to the system. Any thread. */
#pragma once

#include "base/hs_base.h"

/* Bytes that are resident, shared ones included, as ps shows them; some microseconds of work. 0:
 * not known. */
uint64_t hs_resident_bytes(void);
