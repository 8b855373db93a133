/* moonring.limit, moonring.lock and moonring.cache: decisions, waiting, and what ends by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "exec/topics_desk.h"

static void run(void **state, const char *text, const char *body)
{
    desk_t desk;
    desk_begin(&desk, *state, text);
    expect(&desk, body);
    desk_end(&desk);
}

/* ---- Rates. ---- */

static void a_burst_is_admitted_and_then_the_rate(void **state)
{
    run(state,
        "local limit = moonring.limit.rate('api', { rate = 2, burst = 5 })\n"
        "local function try(key)\n"
        "  local began, admitted, info, last = moonring.now(), 0\n"
        "  for i = 1, 10 do local yes, told = limit:check(key)\n"
        "    if yes then admitted, info = admitted + 1, told else last = told end end\n"
        "  if moonring.now() - began > 0.4 then return end\n"
        "  assert(info.remaining == 0 and info.limit == 5, info.remaining)\n"
        "  assert(last.retry_after > 0 and last.retry_after <= 0.5, last.retry_after)\n"
        "  assert(last.reset > 2 and last.reset <= 2.5, last.reset)\n"
        "  assert(limit:check('other ' .. key))\n"
        "  moonring.sleep(last.retry_after + 0.0005)\n"
        "  local yes, after = limit:check(key), limit:check(key)\n"
        "  if moonring.now() - began > 0.9 then return end\n"
        "  return admitted .. tostring(yes) .. tostring(after)\n"
        "end\n" HANDLE(
            /* again if this process did not run for so long that more was admitted */
            "local result\n"
            "for i = 1, 10 do result = result or try('k' .. i) end\n"
            "res:body(tostring(result))"),
        "5truefalse");
}

static void many_tries_are_admitted_at_exactly_the_rate(void **state)
{
    run(state,
        "local limit = moonring.limit.rate('api', { rate = 200, burst = 40 })\n" HANDLE(
            "local admitted, before, after = limit:check('k') and 1 or 0, 0, 0\n"
            "local began, gap = moonring.now(), 0\n"
            "while before - began < 0.5 do\n"
            "  before = moonring.now()\n"
            "  gap = math.max(gap, before - math.max(began, after))\n"
            "  while limit:check('k') do admitted = admitted + 1 end\n"
            "  after = moonring.now()\n"
            "  gap = math.max(gap, after - before)\n"
            "end\n"
            "local least, most = 39 + (before - began) * 200, 41 + (after - began) * 200\n"
            /* what comes while this process does not run for longer than a burst is lost */
            "local is_exact = admitted <= most and (admitted >= least - 1 or gap > 0.15)\n"
            "res:body(is_exact and 'exact' or ('%d of %f to %f'):format(admitted, least, most))"),
        "exact");
}

static void a_cost_counts_as_many(void **state)
{
    run(state,
        "local limit = moonring.limit.rate('api', { rate = 1, per = 60, burst = 10 })\n" HANDLE(
            "local a, b, c = limit:check('k', 7), limit:check('k', 4), limit:check('k', 3)\n"
            "local _, info = limit:check('k', 0)\n"
            "res:body(tostring(a) .. tostring(b) .. tostring(c) .. info.remaining)"),
        "truefalsetrue0");
}

/* False: it took so long that the fields have other numbers of seconds. */
static bool a_hook_limits(lua_bench_t *lb)
{
    desk_t desk;
    char first[sizeof(lb->fields)];
    desk_begin(&desk, lb,
               "local limit = moonring.limit.rate('api', { rate = 1, per = 10, burst = 2,\n"
               "  key = function() return 'k' end })\n"
               "local app = moonring.router.new()\n"
               "app:before(limit:hook())\n"
               "app:get('/x', function(req, res) res:body('fine') end)\n"
               "handle = app:handler()");
    uint64_t begin_ms = hs_clock_monotonic_ms();
    expect(&desk, "fine");
    memcpy(first, lb->fields, sizeof(first));
    expect(&desk, "fine");
    expect(&desk, "Too Many Requests\n");
    bool in_time = hs_clock_monotonic_ms() - begin_ms < 900;
    desk_end(&desk);
    if (!in_time)
        return false;
    assert_non_null(strstr(first, "RateLimit-Policy: \"api\";q=2;w=20\r\n"));
    assert_non_null(strstr(first, "RateLimit: \"api\";r=1;t=10\r\n"));
    assert_int_equal(lb->status, 429);
    assert_non_null(strstr(lb->fields, "RateLimit: \"api\";r=0;t=20\r\n"));
    assert_non_null(strstr(lb->fields, "Retry-After: 10\r\n"));
    return true;
}

static void a_hook_responds_with_429_and_the_fields(void **state)
{
    int attempts = 0;
    while (!a_hook_limits(*state))
        assert_true(++attempts < 10);
}

/* ---- Concurrency. ---- */

static void no_more_than_the_limit_run_at_a_time(void **state)
{
    run(state,
        "local limit = moonring.limit.concurrency('work', { max = 3, wait = 5 })\n" HANDLE(
            "local running, most, done, tasks = 0, 0, 0, {}\n"
            "for i = 1, 30 do tasks[i] = moonring.spawn(function()\n"
            "  local lease = assert(limit:acquire('k'))\n"
            "  running = running + 1 most = math.max(most, running)\n"
            "  moonring.sleep(0.002) running = running - 1 done = done + 1\n"
            "  lease:release() lease:release() end) end\n"
            "for i = 1, 30 do tasks[i]:wait() end\n"
            "res:body(most .. ' ' .. done)"),
        "3 30");
}

static void a_lease_ends_with_its_request_even_if_that_fails(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state,
               "local limit = moonring.limit.concurrency('work', { max = 1,\n"
               "  key = function() return 'k' end })\n" HANDLE(
                   "if limit:hook()(req, res) then return end\n"
                   "local second = limit:acquire('k')\n"
                   "assert(second == nil)\n"
                   "moonring.sleep(0.001)\n"
                   "error 'raised'"));
    for (int i = 0; i < 3; i++)
        expect(&desk, "Internal Server Error\n");
    expect_logged(*state, "raised");
    desk_end(&desk);
}

static void the_lease_of_a_dead_process_ends_with_its_time(void **state)
{
    run(state,
        "local limit = moonring.limit.concurrency('work', { max = 1, wait = 5, lease = 0.3 })\n"
        "local function try(key)\n"
        /* as another process has left it */
        "  moonring.shared('limits'):set('concurrency work ' .. key,\n"
        "    ('dead %.3f\\n'):format(moonring.now() + 0.1), 0.1)\n"
        "  local began = moonring.now()\n"
        "  assert(limit:acquire(key))\n"
        "  local got = moonring.now()\n"
        "  if got - began < 0.09 then return 'waited ' .. got - began end\n"
        /* its own is kept for as long as the request goes on, and this process runs */
        "  local last, gap = got, 0\n"
        "  while last - got < 0.7 do\n"
        "    moonring.sleep(0.005)\n"
        "    local now = moonring.now()\n"
        "    last, gap = now, math.max(gap, now - last)\n"
        "  end\n"
        "  local none, why = moonring.limit.concurrency('work', { max = 1 }):acquire(key)\n"
        "  if none and gap > 0.1 then return end\n"
        "  return tostring(none) .. tostring(why)\n"
        "end\n" HANDLE("local result\n"
                       "for i = 1, 5 do result = result or try('k' .. i) end\n"
                       "res:body(tostring(result))"),
        "nilbusy");
}

/* ---- Locks. ---- */

static void a_lock_has_one_holder_and_waiters_get_it_in_their_order(void **state)
{
    run(state,
        HANDLE(
            "local order, tasks, held = {}, {}, 0\n"
            "for i = 1, 20 do tasks[i] = moonring.spawn(function()\n"
            "  local lock = assert(moonring.lock.acquire 'l')\n"
            "  held = held + 1 assert(held == 1)\n"
            "  order[#order + 1] = i moonring.sleep(0.001)\n"
            "  held = held - 1 assert(lock:release()) end) end\n"
            "for i = 1, 20 do tasks[i]:wait() assert(order[i] == i) end\n"
            "local a = moonring.lock.acquire('m')\n"
            "local none, why = moonring.lock.acquire('m', { wait = 0.01 })\n"
            "local other = moonring.lock.acquire('n', { wait = 0 })\n"
            "res:body(tostring(none) .. why .. tostring(a:is_held()) .. tostring(other ~= nil))"),
        "niltimeouttruetrue");
}

static void a_lock_ends_with_its_time_and_its_late_holder_learns_it(void **state)
{
    run(state,
        HANDLE("local first = moonring.lock.acquire('l', { ttl = 0.05 })\n"
               "local began = moonring.now()\n"
               "local second = assert(moonring.lock.acquire('l', { wait = 5 }))\n"
               "local waited = moonring.now() - began\n"
               "assert(waited >= 0.04 and waited < 4, waited)\n"
               "local _, why = first:release()\n"
               "local _, late = first:extend()\n"
               "assert(second:extend(1) and second:is_held() and not first:is_held())\n"
               "res:body(why .. late)"),
        "expiredreleased");
}

static void a_lock_is_released_when_its_function_or_request_ends(void **state)
{
    desk_t desk;
    desk_begin(
        &desk, *state,
        HANDLE("local ok, why = pcall(moonring.lock.with, 'l', nil, function() error('x', 0) end)\n"
               "local a, b = moonring.lock.with('l', { wait = 0 }, function(...) return ... end, "
               "1, 2)\n"
               "local kept = moonring.lock.acquire('kept', { wait = 0 })\n"
               "res:body(tostring(ok) .. why .. a .. b .. tostring(kept ~= nil))"));
    expect(&desk, "falsex12true");
    expect(&desk, "falsex12true");
    desk_end(&desk);
}

/* ---- Caches. ---- */

static void a_value_is_computed_once_while_others_wait(void **state)
{
    run(state,
        "local cache, count = moonring.cache.new('c', { ttl = 60 }), 0\n" HANDLE(
            "local tasks = {}\n"
            "for i = 1, 50 do tasks[i] = moonring.spawn(function()\n"
            "  return cache:get('k', function(a) count = count + 1 moonring.sleep(0.01)\n"
            "    return { n = count, a = a } end, 'argument') end) end\n"
            "for i = 1, 50 do local v = tasks[i]:wait() assert(v.n == 1 and v.a == 'argument') "
            "end\n"
            "cache:delete('k')\n"
            "local again = cache:get('k', function() return false end)\n"
            "cache:set('k', 'put')\n"
            "res:body(count .. tostring(again) .. cache:get('k', error) .. "
            "tostring(cache:peek('none')))"),
        "1falseputnil");
}

static void a_stale_value_is_given_while_it_is_computed_anew(void **state)
{
    run(state,
        "local cache, count = moonring.cache.new('c', { ttl = 0.03, stale = 60 }), 0\n"
        "local function slow() count = count + 1 moonring.sleep(0.02) return count end\n" HANDLE(
            "local first = cache:get('k', slow)\n"
            "moonring.sleep(0.04)\n"
            /* a task that continues as soon as this one waits */
            "local has_waited = false\n"
            "moonring.spawn(function() moonring.sleep(0) has_waited = true end)\n"
            "local second, third = cache:get('k', slow), cache:get('k', slow)\n"
            "assert(not has_waited)\n"
            "while cache:peek('k') == 1 do moonring.sleep(0.005) end\n"
            "res:body(first .. second .. third .. cache:peek('k') .. count)"),
        "11122");
}

static void strings_of_any_bytes_are_kept_and_errors_as_their_text(void **state)
{
    run(state,
        "local cache = moonring.cache.new('c', { error_ttl = 60 })\n" HANDLE(
            "for _, text in ipairs { '\\255\\0', '', '{}', 'S1 V', '\"' } do\n"
            "  local function give() return text end\n"
            "  assert(cache:get('k' .. text, give) == text)\n"
            "  assert(cache:get('k' .. text, error) == text)\n"
            "  assert(cache:peek('k' .. text) == text)\n"
            "end\n"
            "pcall(cache.get, cache, 'e', function() error { code = 5 } end)\n"
            "local _, why = pcall(cache.get, cache, 'e', error)\n"
            "res:body(why)"),
        "{ code = 5 }");
}

static void nothing_and_errors_are_kept_only_if_asked(void **state)
{
    run(state,
        "local plain, count = moonring.cache.new('plain'), 0\n"
        "local keeps = moonring.cache.new('keeps', { negative_ttl = 60, error_ttl = 60 })\n"
        "local function none() count = count + 1 return nil end\n"
        "local function fails() count = count + 1 error('down', 0) end\n" HANDLE(
            "for _, cache in ipairs { plain, keeps } do\n"
            "  for i = 1, 3 do assert(cache:get('n', none) == nil) end\n"
            "  for i = 1, 3 do local ok, why = pcall(cache.get, cache, 'e', fails)\n"
            "    assert(not ok and why == 'down', why) end\n"
            "  texts = (texts or '') .. count .. ' ' count = 0 end\n"
            "res:body(texts)"),
        "6 2 ");
}

static void a_state_keeps_recent_values_until_they_are_deleted(void **state)
{
    run(state,
        "local cache = moonring.cache.new('c', { l1 = 100, l1_ttl = 60 })\n" HANDLE(
            "local first = cache:get('k', function() return { 1 } end)\n"
            "local second = cache:get('k', error)\n"
            "assert(cache:get('k', error) == second)\n"
            /* as another reactor deletes it */
            "moonring.shared('cache'):delete('cache c k')\n"
            "moonring.publish('moonring cache c', 'k')\n"
            "local value\n"
            "repeat\n"
            "  moonring.sleep(0.001)\n"
            "  value = cache:get('k', function() return 'new' end)\n"
            "until value ~= second\n"
            "res:body(tostring(value))"),
        "new");
}

static void mistakes_are_named(void **state)
{
    run(state,
        HANDLE("local texts = {}\n"
               "local function try(fn, ...) local ok, text = pcall(fn, ...) assert(not ok)\n"
               "  texts[#texts + 1] = tostring(text):gsub('^.-handler.lua:%d+: ', '') end\n"
               "local limit, lock, cache = moonring.limit, moonring.lock, moonring.cache\n"
               "try(limit.rate, 'a b', {}) try(limit.rate, 'a', { rat = 1 }) try(limit.rate, 'a', "
               "{})\n"
               "try(limit.concurrency, 'a', { max = 1.5 })\n"
               "try(lock.acquire, 'l', { tll = 1 }) try(lock.acquire, '', {})\n"
               "try(cache.new, 'c', { ttl = -1 }) try(cache.new, 'c', 5)\n"
               "try(cache.new('c').set, cache.new('c'), 'k', 1, 'x')\n"
               "try(limit.rate, 'a', { rate = 1, redis = 5 })\n"
               "try(limit.rate, 'a', { rate = 1, open = 'no' })\n"
               "try(lock.acquire, 'l', { shared = 'none' })\n"
               "res:body(table.concat(texts, '\\n'))"),
        "moonring.limit.rate: a name has 1 to 64 letters, digits, _ and -, not \"a b\"\n"
        "moonring.limit.rate: the table of options has no member \"rat\": did you mean \"rate\"?\n"
        "moonring.limit.rate: rate is a number from 1e-06 on, not nil\n"
        "moonring.limit.concurrency: max is a whole number from 1 to 1000, not 1.5\n"
        "moonring.lock.acquire: the table of options has no member \"tll\": did you mean \"ttl\"?\n"
        "moonring.lock.acquire: a name is a string of 1 to 200 bytes\n"
        "moonring.cache.new: ttl is a number from 0 on, not -1\n"
        "moonring.cache.new: options are a table, not a number\n"
        "cache:set(key, value, ttl) takes seconds, 0 or more, not x\n"
        "moonring.limit.rate: redis is a client of moonring.redis or a function, not 5\n"
        "moonring.limit.rate: open is true or false, not no\n"
        "moonring.shared(\"none\"): there is no dictionary of this name (declared: limits, locks, "
        "cache): start the server with --shared none=16m");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_burst_is_admitted_and_then_the_rate),
        TEST(many_tries_are_admitted_at_exactly_the_rate),
        TEST(a_cost_counts_as_many),
        TEST(a_hook_responds_with_429_and_the_fields),
        TEST(no_more_than_the_limit_run_at_a_time),
        TEST(a_lease_ends_with_its_request_even_if_that_fails),
        TEST(the_lease_of_a_dead_process_ends_with_its_time),
        TEST(a_lock_has_one_holder_and_waiters_get_it_in_their_order),
        TEST(a_lock_ends_with_its_time_and_its_late_holder_learns_it),
        TEST(a_lock_is_released_when_its_function_or_request_ends),
        TEST(a_value_is_computed_once_while_others_wait),
        TEST(a_stale_value_is_given_while_it_is_computed_anew),
        TEST(strings_of_any_bytes_are_kept_and_errors_as_their_text),
        TEST(nothing_and_errors_are_kept_only_if_asked),
        TEST(a_state_keeps_recent_values_until_they_are_deleted),
        TEST(mistakes_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
