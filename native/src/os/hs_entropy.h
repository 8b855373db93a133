/* Random bits from the system, for seeds. Thread: any. */
#pragma once

#include "base/hs_base.h"

/* Differs from call to call, also between processes that start at the same time. */
uint64_t hs_entropy(void);
