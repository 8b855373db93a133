#include "server/hs_reactor.h"

#include "os/hs_sock.h"

int hs_reactor_init(hs_reactor_t *reactor, const hs_io_config_t *config, hs_errinfo_t *error)
{
    hs_io_config_t own = *config;
    reactor->factory = config->factory;
    int result = reactor->factory.make(reactor->factory.context, &reactor->handler, error);
    if (result != HS_OK)
        return result;
    reactor->has_handler = true;
    own.handler = reactor->handler;
    return hs_io_init(&reactor->io, &own, error);
}

uint32_t hs_reactor_free(hs_reactor_t *reactor, uint32_t wait_ms)
{
    int fd;
    while ((fd = hs_handoff_take(&reactor->handoff)) >= 0)
        hs_sock_close(fd);
    uint32_t left = hs_io_free(&reactor->io, wait_ms);
    if (reactor->has_handler)
        reactor->factory.end(reactor->factory.context, &reactor->handler);
    reactor->has_handler = false;
    return left;
}

static void *run(void *argument)
{
    hs_reactor_t *reactor = argument;
    (void)hs_io_run(&reactor->io);
    return NULL;
}

int hs_reactor_start(hs_reactor_t *reactor, unsigned number, hs_errinfo_t *error)
{
    char name[16];
    snprintf(name, sizeof(name), "hs-reactor-%u", number);
    reactor->io.handoff = &reactor->handoff;
    int result = hs_thread_start(&reactor->thread, HS_THREAD_IO, name, run, reactor, error);
    reactor->running = result == HS_OK;
    return result;
}

void hs_reactor_join(hs_reactor_t *reactor)
{
    if (reactor->running)
        pthread_join(reactor->thread, NULL);
    reactor->running = false;
}

bool hs_reactor_hand_over(hs_reactor_t *reactor, int fd)
{
    if (!hs_handoff_put(&reactor->handoff, fd))
        return false;
    hs_ev_wake(reactor->io.env.loop.ev);
    return true;
}
