/* The caller's side of the block protocol.  Nothing that comes back is trusted: the store checks the data. */
#include "sectors.h"
#include <string.h>
#include "blocks.h"
#include "eapp.h"

#define REFUSED (-1UL)
#define BUSY (-2UL)

static unsigned long server = REFUSED;
static struct block_request *region;

static int find_region(void)
{
    if (!region) {
        void *mapped = eapp_mmap(NULL, BLOCK_REGION);
        region = mapped == (void *)REFUSED ? NULL : mapped;
    }
    return region ? 0 : -1;
}

static int call(void)
{
    struct call_enclave_arg_t arg = {.req_vaddr = (unsigned long)region, .req_size = BLOCK_REGION};
    if (server == REFUSED)
        server = acquire_enclave(BLOCK_SERVER);
    unsigned long result = REFUSED;
    if (server != REFUSED)
        while ((result = call_enclave(server, &arg)) == BUSY)
            eapp_yield();
    if (result) {
        server = REFUSED; /* it may be another one the next time */
        return -1;
    }
    region = arg.req_vaddr ? (struct block_request *)arg.req_vaddr : NULL;
    return arg.resp_val || !region ? -1 : 0;
}

static int request(uint32_t sector, uint32_t flags, const uint8_t *data)
{
    if (find_region())
        return -1;
    region->flags = flags;
    region->device = BLOCK_DEVICE_PLAIN;
    region->block = sector;
    if (data)
        memcpy(region->data, data, BLOCK_SIZE);
    return call();
}

int sector_read(uint32_t sector, uint8_t *data)
{
    if (request(sector, 0, NULL))
        return -1;
    memcpy(data, region->data, BLOCK_SIZE);
    return 0;
}

int sector_write(uint32_t sector, const uint8_t *data)
{
    return request(sector, BLOCK_DIRTY, data);
}
