#include "http/hs_file_path.h"

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char lower = hs_ascii_lower(c);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Appends the segment, decoded. */
static hs_file_path_outcome_t decode_segment(hs_span_t segment, hs_file_path_t *decoded)
{
    for (size_t at = 0; at < segment.len; at++) {
        char c = segment.data[at];
        if (c == '%') {
            int high = segment.len - at > 2 ? hex_value(segment.data[at + 1]) : -1;
            int low = segment.len - at > 2 ? hex_value(segment.data[at + 2]) : -1;
            if (high < 0 || low < 0 || high + low == 0)
                return HS_FILE_PATH_MALFORMED;
            c = (char)(high * 16 + low);
            if (c == '/')
                return HS_FILE_PATH_REFUSED;
            at += 2;
        } else if (c == '\0') {
            return HS_FILE_PATH_MALFORMED;
        }
        if (decoded->len == HS_FILE_PATH_MAX - 1)
            return HS_FILE_PATH_REFUSED;
        decoded->name[decoded->len++] = c;
    }
    return HS_FILE_PATH_OK;
}

static bool is_refused(const char *name, size_t len, bool hides_dotfiles, bool is_first)
{
    if (name[0] != '.')
        return false;
    if (len == 1 || (len == 2 && name[1] == '.'))
        return true;
    return hides_dotfiles &&
           !(is_first && hs_span_equals(hs_span(name, len), HS_SPAN_LITERAL(".well-known")));
}

hs_file_path_outcome_t hs_file_path_decode(hs_span_t path, bool hides_dotfiles,
                                           hs_file_path_t *decoded)
{
    decoded->len = 0;
    decoded->is_directory = path.len == 0 || path.data[path.len - 1] == '/';
    for (size_t at = 0; at < path.len;) {
        const char *from = path.data + at;
        const char *slash = memchr(from, '/', path.len - at);
        size_t len = slash != NULL ? (size_t)(slash - from) : path.len - at;
        at += len + 1;
        if (len == 0)
            continue;
        bool is_first = decoded->len == 0;
        if (!is_first) {
            if (decoded->len == HS_FILE_PATH_MAX - 1)
                return HS_FILE_PATH_REFUSED;
            decoded->name[decoded->len++] = '/';
        }
        size_t begin = decoded->len;
        hs_file_path_outcome_t outcome = decode_segment(hs_span(from, len), decoded);
        if (outcome != HS_FILE_PATH_OK)
            return outcome;
        if (is_refused(decoded->name + begin, decoded->len - begin, hides_dotfiles, is_first))
            return HS_FILE_PATH_REFUSED;
    }
    decoded->name[decoded->len] = '\0';
    return HS_FILE_PATH_OK;
}
