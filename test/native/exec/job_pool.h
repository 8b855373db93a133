/* A pool of jobs whose blocks come from the allocator. Include after cmocka.h. */
#pragma once

#include "exec/hs_job.h"

static inline void job_pool_begin(hs_job_pool_t *pool, hs_pool_t *blocks, uint32_t limit,
                                  hs_log_t *log, hs_completions_t *completions)
{
    assert_true(hs_pool_init(blocks, NULL, 4096, sizeof(hs_job_t), HS_CACHE_LINE, limit));
    hs_job_pool_init(pool, blocks, log, completions);
}

static inline void job_pool_end(hs_job_pool_t *pool)
{
    hs_job_pool_free(pool);
    hs_pool_free(pool->blocks);
}
