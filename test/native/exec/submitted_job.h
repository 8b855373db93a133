/* A pool of jobs, each with a request as produced by a parser, and a completion queue. For tests
 * of code that runs handlers. */
#pragma once

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "exec/hs_completions.h"
#include "exec/hs_res.h"
#include "exec/job_pool.h"

typedef struct rig {
    hs_log_t log;
    hs_field_t fields[1]; /* requests here have none */
    hs_job_pool_t pool;
    hs_pool_t blocks;
} rig_t;

/* `completions`: where finished jobs are posted. */
static inline void rig_init(rig_t *rig, hs_completions_t *completions)
{
    hs_log_init(&rig->log, HS_LOG_OFF, NULL, NULL);
    job_pool_begin(&rig->pool, &rig->blocks, 65536, &rig->log, completions);
}

/* GET `url`, which must remain valid. */
static inline hs_job_t *rig_request(rig_t *rig, const char *url)
{
    hs_job_t *job = hs_job_lease(&rig->pool);
    assert_non_null(job);
    job->request.msg = (hs_msg_t){
        .base = (char *)(uintptr_t)url,
        .head_len = (uint32_t)strlen(url) + 1,
        .url_len = (uint32_t)strlen(url),
        .method = 1,
        .fields = rig->fields,
        .body = hs_span("", 0),
    };
    return job;
}

static inline void rig_free(rig_t *rig)
{
    job_pool_end(&rig->pool);
}
