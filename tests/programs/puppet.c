/*
 * Calls the server "filesystem", or PUPPET, as the host says: each round of relay pages has a request, and goes
 * back with its answer.  The region is passed as a client of Penglai-TVM's does.
 */
#include <string.h>
#include "eapp.h"

#ifndef PUPPET
#define PUPPET "filesystem"
#endif
#define HEAD 64

struct round {
    unsigned long operation, size, used; /* of the region; bytes of it that are in the request */
    unsigned long result, value, came_back;
};

static void play(struct round *round, unsigned long room)
{
    char *data = (char *)round + HEAD, *region = eapp_mmap(NULL, round->size);
    memcpy(region, data, round->used);
    struct call_enclave_arg_t arg = {
        .req_arg = round->operation, .req_vaddr = (unsigned long)region, .req_size = round->size};
    round->result = call_enclave(acquire_enclave(PUPPET), &arg);
    round->value = arg.resp_val;
    round->came_back = arg.req_vaddr == (unsigned long)region && arg.req_size == round->size;
    if (round->came_back) {
        memcpy(data, region, round->size < room ? round->size : room);
        eapp_unmap(region, round->size);
    }
}

int EAPP_ENTRY main(void)
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    while (args[14]) {
        play((struct round *)args[13], args[14] - HEAD);
        eapp_return_relay_page();
    }
    EAPP_RETURN(0);
}
