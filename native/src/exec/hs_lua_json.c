#include "exec/hs_lua_json.h"

#include <lauxlib.h>
#include <math.h>
#include <string.h>

#include "base/hs_base.h"
#include "base/hs_utf8.h"

/* The state of scanning a text. owner: the caller, on its stack */
typedef struct scan {
    const unsigned char *text;
    size_t len;
    size_t at;
    const char *problem; /* NULL: none so far; else it is at `at` */
} scan_t;

/* A possible number: from `at` on, `len` bytes. */
typedef struct number {
    size_t at;
    size_t len;
} number_t;

static bool is_digit(unsigned char byte)
{
    return byte >= '0' && byte <= '9';
}

/* Skips the string whose opening quote is at `at`. False: there is a problem. */
static bool skip_string(scan_t *scan)
{
    for (scan->at++; scan->at < scan->len;) {
        unsigned char byte = scan->text[scan->at];
        if (byte == '"') {
            scan->at++;
            return true;
        }
        if (byte < 0x20) {
            scan->problem = "Found an unescaped control character in a string";
            return false;
        }
        if (byte == '\\') { /* the decoder checks escapes */
            scan->at++;
            if (scan->at < scan->len &&
                (scan->text[scan->at] == '"' || scan->text[scan->at] == '\\'))
                scan->at++;
            continue;
        }
        size_t len = hs_utf8_len(scan->text + scan->at, scan->len - scan->at);
        if (len == 0) {
            scan->problem = "Found invalid UTF-8 in a string";
            return false;
        }
        scan->at += len;
    }
    return true; /* unterminated: the decoder reports it */
}

static bool is_in_number(unsigned char byte)
{
    return is_digit(byte) || byte == '.' || byte == 'e' || byte == 'E' || byte == '+' ||
           byte == '-';
}

/* The next number outside strings. False: there is none, or there is a problem before it. */
static bool next_number(scan_t *scan, number_t *number)
{
    while (scan->at < scan->len) {
        unsigned char byte = scan->text[scan->at];
        if (byte == '"') {
            if (!skip_string(scan))
                return false;
        } else if (is_in_number(byte) && byte != 'e' && byte != 'E') {
            number->at = scan->at;
            while (scan->at < scan->len && is_in_number(scan->text[scan->at]))
                scan->at++;
            number->len = scan->at - number->at;
            return true;
        } else {
            scan->at++;
        }
    }
    return false;
}

static size_t count_digits(const unsigned char *text, size_t len)
{
    size_t count = 0;
    while (count < len && is_digit(text[count]))
        count++;
    return count;
}

typedef enum kind {
    MALFORMED,
    INTEGER,
    FRACTION, /* or with an exponent */
} kind_t;

/* RFC 8259 §6. */
static kind_t kind_of(const unsigned char *text, size_t len)
{
    const unsigned char *end = text + len;
    if (text < end && *text == '-')
        text++;
    size_t whole = count_digits(text, (size_t)(end - text));
    if (whole == 0 || (whole > 1 && *text == '0'))
        return MALFORMED;
    text += whole;
    if (text == end)
        return INTEGER;
    if (*text == '.') {
        size_t digits = count_digits(text + 1, (size_t)(end - text - 1));
        if (digits == 0)
            return MALFORMED;
        text += 1 + digits;
    }
    if (text < end && (*text == 'e' || *text == 'E')) {
        text++;
        if (text < end && (*text == '+' || *text == '-'))
            text++;
        size_t digits = count_digits(text, (size_t)(end - text));
        if (digits == 0)
            return MALFORMED;
        text += digits;
    }
    return text == end ? FRACTION : MALFORMED;
}

/* A shorter number without an exponent is finite. */
#define FINITE_DIGITS 300

/* `text` is a JSON number. LuaJIT converts it, since strtod depends on the locale. May raise "not
 * enough memory". */
static bool is_finite(lua_State *state, const unsigned char *text, size_t len)
{
    if (len < FINITE_DIGITS && memchr(text, 'e', len) == NULL && memchr(text, 'E', len) == NULL)
        return true;
    lua_pushlstring(state, (const char *)text, len);
    double value = lua_tonumber(state, -1);
    lua_pop(state, 1);
    return isfinite(value);
}

/* Whether the magnitude of an integer is 2^53 or more. */
static bool is_big(const unsigned char *text, size_t len)
{
    static const char limit[] = "9007199254740992";
    size_t digits_max = sizeof(limit) - 1;
    if (*text == '-') {
        text++;
        len--;
    }
    return len > digits_max || (len == digits_max && memcmp(text, limit, len) >= 0);
}

/* Pushes the text with its `big_count` big integers in quotes. */
static void push_quoted(lua_State *state, const unsigned char *text, size_t len, size_t big_count)
{
    char *out = lua_newuserdata(state, len + 2 * big_count);
    size_t done = 0, copied = 0;
    number_t number;
    for (scan_t scan = { .text = text, .len = len }; next_number(&scan, &number);) {
        const unsigned char *digits = text + number.at;
        if (kind_of(digits, number.len) != INTEGER || !is_big(digits, number.len))
            continue;
        memcpy(out + done, text + copied, number.at - copied);
        done += number.at - copied;
        out[done++] = '"';
        memcpy(out + done, digits, number.len);
        done += number.len;
        out[done++] = '"';
        copied = number.at + number.len;
    }
    memcpy(out + done, text + copied, len - copied);
    lua_pushlstring(state, out, done + len - copied);
}

int hs_lua_json_check(lua_State *state)
{
    size_t len;
    const unsigned char *text = (const unsigned char *)luaL_checklstring(state, 1, &len);
    bool quotes_big = lua_toboolean(state, 2);
    lua_settop(state, 1);
    scan_t scan = { .text = text, .len = len };
    size_t big_count = 0;
    number_t number;
    while (scan.problem == NULL && next_number(&scan, &number)) {
        const unsigned char *digits = text + number.at;
        kind_t kind = kind_of(digits, number.len);
        if (kind == MALFORMED)
            scan.problem = "Found a malformed number";
        else if (!is_finite(state, digits, number.len))
            scan.problem = "Found a number that is out of range";
        else if (kind == INTEGER && is_big(digits, number.len))
            big_count++;
        if (scan.problem != NULL)
            scan.at = number.at;
    }
    if (scan.problem != NULL) {
        lua_pushnil(state);
        lua_pushfstring(state, "%s at character %d", scan.problem, (int)(scan.at + 1));
        return 2;
    }
    if (quotes_big && big_count > 0)
        push_quoted(state, text, len, big_count);
    return 1;
}

int hs_lua_utf8_repair(lua_State *state)
{
    static const char replacement[] = "\xEF\xBF\xBD"; /* U+FFFD */
    size_t len;
    const char *text = luaL_checklstring(state, 1, &len);
    lua_settop(state, 1);
    luaL_Buffer out;
    bool is_repaired = false;
    size_t copied = 0;
    for (size_t at = 0; at < len;) {
        size_t sequence = hs_utf8_len((const unsigned char *)text + at, len - at);
        if (sequence == 0) {
            if (!is_repaired)
                luaL_buffinit(state, &out);
            is_repaired = true;
            luaL_addlstring(&out, text + copied, at - copied);
            luaL_addlstring(&out, replacement, sizeof(replacement) - 1);
            copied = ++at;
        } else {
            at += sequence;
        }
    }
    if (!is_repaired)
        return 1;
    luaL_addlstring(&out, text + copied, len - copied);
    luaL_pushresult(&out);
    return 1;
}
