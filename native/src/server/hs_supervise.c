#include "httpserver_supervise.h"

#include "base/hs_alloc.h"
#include "exec/hs_stats_page.h"
#include "exec/hs_topics.h"
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

hs_topics_t *hs_topics_create(uint32_t slots, size_t size, char *error, size_t error_size)
{
    hs_errinfo_t info = { 0 };
    hs_topics_t *topics = hs_topics_new(slots, size, &info);
    if (topics == NULL && error != NULL && error_size > 0)
        snprintf(error, error_size, "%s", info.text);
    return topics;
}

int hs_topics_publish(hs_topics_t *topics, const char *topic, size_t topic_len, const char *message,
                      size_t message_len)
{
    return hs_topics_post(topics, hs_span(topic, topic_len), hs_span(message, message_len));
}

uint64_t hs_monotonic_ms(void)
{
    return hs_clock_monotonic_ms();
}

/* owner: its factory */
struct hs_lines {
    hs_append_t append;
};

hs_lines_t *hs_lines_new(int fd)
{
    hs_lines_t *lines = hs_alloc(sizeof(*lines));
    if (lines != NULL)
        hs_append_adopt(&lines->append, fd);
    return lines;
}

ptrdiff_t hs_lines_write(hs_lines_t *lines, const char *data, size_t len)
{
    return hs_append_lines(&lines->append, data, len);
}

void hs_lines_free(hs_lines_t *lines)
{
    hs_free(lines);
}

const char *hs_method_name(unsigned method)
{
    return hs_parse_method_name(method);
}
