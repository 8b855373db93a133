#include "os/hs_networks.h"

static const struct {
    const char *name;
    const char *networks;
} names[] = {
    { "loopback", "127.0.0.0/8,::1" },
    { "link-local", "169.254.0.0/16,fe80::/10" },
    { "private", "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7" },
};

/* An IPv4-mapped network is one of IPv4, as its peers are. */
#define MAPPED_BITS 96

static unsigned bits_of(const hs_network_t *network)
{
    return network->family == 4 ? 32 : 128;
}

/* One to three digits, at most `max`. */
static bool read_prefix(hs_span_t text, unsigned max, unsigned *prefix)
{
    *prefix = 0;
    if (text.len < 1 || text.len > 3)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        *prefix = *prefix * 10 + (unsigned)(text.data[i] - '0');
    }
    return *prefix <= max;
}

static bool read_network(hs_span_t text, hs_network_t *network)
{
    const char *slash = memchr(text.data, '/', text.len);
    size_t len = slash == NULL ? text.len : (size_t)(slash - text.data);
    hs_peer_t peer;
    if (!hs_peer_parse(hs_span(text.data, len), &peer))
        return false;
    *network = (hs_network_t){ .family = peer.family };
    memcpy(network->bytes, peer.bytes, sizeof(network->bytes));
    network->prefix = (uint8_t)bits_of(network);
    if (slash == NULL)
        return true;
    bool is_mapped = peer.family == 4 && memchr(text.data, ':', len) != NULL;
    unsigned skipped = is_mapped ? MAPPED_BITS : 0;
    unsigned prefix;
    if (!read_prefix(hs_span(slash + 1, text.len - len - 1), bits_of(network) + skipped, &prefix) ||
        prefix < skipped)
        return false;
    network->prefix = (uint8_t)(prefix - skipped);
    return true;
}

static const char *named(hs_span_t text)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (hs_span_equals(text, hs_span(names[i].name, strlen(names[i].name))))
            return names[i].networks;
    return NULL;
}

static bool add(hs_networks_t *networks, hs_network_t network)
{
    if (networks->count == HS_NETWORKS_MAX)
        return false;
    networks->list[networks->count++] = network;
    return true;
}

/* The next element of a list, which is never empty. False: there is none. */
static bool next_element(const char **at, hs_span_t *element)
{
    *at += strspn(*at, ", ");
    *element = hs_span(*at, strcspn(*at, ", "));
    *at += element->len;
    return element->len > 0;
}

static int add_element(hs_networks_t *networks, hs_span_t element, hs_errinfo_t *error)
{
    hs_network_t network = { .family = HS_PEER_UNIX };
    if (!hs_span_equals(element, HS_SPAN_LITERAL("unix")) && !read_network(element, &network))
        return hs_errinfo_set(error, HS_ERR_INVALID, 0,
                              "trusted proxies: \"%.*s\" is not an address, a network like "
                              "10.0.0.0/8, loopback, link-local, private or unix",
                              (int)hs_min(element.len, (size_t)100), element.data);
    if (add(networks, network))
        return HS_OK;
    return hs_errinfo_set(error, HS_ERR_LIMIT, 0, "trusted proxies: more than %d networks",
                          HS_NETWORKS_MAX);
}

int hs_networks_parse(hs_networks_t *networks, const char *text, hs_errinfo_t *error)
{
    int result = HS_OK;
    hs_span_t element;
    networks->count = 0;
    while (result == HS_OK && next_element(&text, &element)) {
        const char *inner = named(element);
        if (inner == NULL)
            result = add_element(networks, element, error);
        else
            while (result == HS_OK && next_element(&inner, &element))
                result = add_element(networks, element, error);
    }
    return result;
}

static bool contains(const hs_network_t *network, const hs_peer_t *peer)
{
    if (network->family != peer->family)
        return false;
    size_t bytes = network->prefix / 8;
    unsigned bits = network->prefix % 8;
    if (memcmp(network->bytes, peer->bytes, bytes) != 0)
        return false;
    return bits == 0 || ((network->bytes[bytes] ^ peer->bytes[bytes]) >> (8 - bits)) == 0;
}

bool hs_networks_contain(const hs_networks_t *networks, const hs_peer_t *peer)
{
    for (size_t i = 0; i < networks->count; i++)
        if (contains(&networks->list[i], peer))
            return true;
    return false;
}
