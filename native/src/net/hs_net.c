#include "net/hs_net.h"

int hs_net_init(hs_net_t *net, hs_loop_t *loop, hs_log_t *log)
{
    *net = (hs_net_t){ .loop = loop, .log = log };
    hs_list_init(&net->links);
    return HS_OK;
}

void hs_net_free(hs_net_t *net)
{
    HS_ASSERT(net->open == 0);
}
