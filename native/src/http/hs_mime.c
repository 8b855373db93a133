#include "http/hs_mime.h"

/* Longer than any extension of the table. */
#define EXTENSION_MAX 32

const hs_mime_type_t *hs_mime_of_path(hs_span_t path)
{
    char extension[EXTENSION_MAX + 1];
    size_t len = 0;
    while (len < path.len && path.data[path.len - 1 - len] != '.' &&
           path.data[path.len - 1 - len] != '/')
        len++;
    bool has_dot = len < path.len && path.data[path.len - 1 - len] == '.';
    if (!has_dot || len == 0 || len > EXTENSION_MAX)
        return NULL;
    for (size_t i = 0; i < len; i++)
        extension[i] = hs_ascii_lower(path.data[path.len - len + i]);
    extension[len] = '\0';
    size_t low = 0;
    size_t high = hs_mime_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(extension, hs_mime_types[middle].extension);
        if (order == 0)
            return &hs_mime_types[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}
