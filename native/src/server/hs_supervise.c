#include "httpserver_supervise.h"

#include "exec/hs_stats_page.h"
#include "http/hs_parse.h"
#include "os/hs_append.h"
#include "os/hs_clock.h"

hs_stats_page_t *hs_stats_page_create(uint32_t slots, char *error, size_t error_size)
{
    hs_errinfo_t info = { 0 };
    hs_stats_page_t *page = hs_stats_page_new(slots, &info);
    if (page == NULL && error != NULL && error_size > 0)
        snprintf(error, error_size, "%s", info.text);
    return page;
}

uint64_t hs_monotonic_ms(void)
{
    return hs_clock_monotonic_ms();
}

ptrdiff_t hs_write_lines(int fd, const char *data, size_t len)
{
    hs_append_t append;
    hs_append_adopt(&append, fd);
    return hs_append_lines(&append, data, len);
}

const char *hs_method_name(unsigned method)
{
    return hs_parse_method_name(method);
}
