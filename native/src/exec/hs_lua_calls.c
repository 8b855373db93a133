#include "exec/hs_lua_calls.h"

/* The state of a call, besides what the executor knows. owner: the state's thread */
typedef struct lua_call {
    hs_call_t call; /* first */
    bool has_returned;
    bool is_forgotten;
} lua_call_t;

static void free_call(lua_call_t *call)
{
    hs_buf_free(&call->call.data);
    hs_free(call);
}

static void on_returned(hs_call_t *returned)
{
    lua_call_t *call = (lua_call_t *)(void *)returned;
    hs_lua_calls_t *calls = returned->context;
    calls->count--;
    call->has_returned = true;
    if (call->is_forgotten)
        free_call(call);
    else
        hs_lua_wake(calls->wakes, returned->id);
}

void *hs_lua_calls_begin(hs_lua_calls_t *calls, const char *data, size_t len, uint32_t id)
{
    lua_call_t *call = hs_alloc_zeroed(1, sizeof(*call));
    if (call == NULL)
        return NULL;
    call->call.returned = on_returned;
    call->call.context = calls;
    call->call.id = id;
    if (hs_buf_append(&call->call.data, data, len) &&
        hs_executor_call(calls->executor, &call->call)) {
        calls->count++;
        return call;
    }
    free_call(call);
    return NULL;
}

bool hs_lua_calls_result(void *returned, hs_lua_call_t *result)
{
    const lua_call_t *call = returned;
    const hs_buf_t *data = &call->call.data;
    *result = (hs_lua_call_t){ data->data, data->len, call->call.failed };
    return call->has_returned;
}

void hs_lua_calls_end(hs_lua_calls_t *calls, void *ended)
{
    lua_call_t *call = ended;
    if (call->has_returned) {
        free_call(call);
        return;
    }
    call->is_forgotten = true;
    hs_executor_give_up_call(calls->executor, &call->call);
}
