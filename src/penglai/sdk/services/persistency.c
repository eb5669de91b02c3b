/*
 * The block server "persistency": keeps blocks for other enclaves in the host's sectors.  Without shared memory,
 * through which these pass, it keeps them in its own memory, as long as it lives.
 *
 * It is not trusted by those who seal what they store, nor does it seal anything itself.
 */
#include <stdlib.h>
#include <string.h>
#include "blocks.h"
#include "eapp.h"

#define RAM_BLOCKS 16384

static uint8_t *ram[RAM_BLOCKS];

static int move_in_memory(uint32_t block, int writes, uint8_t *data)
{
    if (block >= RAM_BLOCKS)
        return -1;
    if (writes && !ram[block])
        ram[block] = malloc(BLOCK_SIZE);
    if (!ram[block]) {
        memset(data, 0, BLOCK_SIZE);
        return writes ? -1 : 0;
    }
    memcpy(writes ? ram[block] : data, writes ? data : ram[block], BLOCK_SIZE);
    return 0;
}

/* The host sees the memory that is shared, and may change it at any moment. */
static int move_by_host(uint8_t *shared, uint32_t block, int writes, uint8_t *data)
{
    if (writes)
        memcpy(shared, data, BLOCK_SIZE);
    if (writes ? eapp_persistency_write_sec(block) : eapp_persistency_read_sec(block))
        return -1;
    if (!writes)
        memcpy(data, shared, BLOCK_SIZE);
    return 0;
}

static long serve(const unsigned long *args)
{
    struct block_request *request = (struct block_request *)args[11];
    if (!request || args[12] < sizeof *request)
        return -1;
    uint32_t flags = request->flags;
    int writes = (flags & BLOCK_DIRTY) != 0;
    if (!writes && flags & BLOCK_VALID)
        return -1;
    int failed = args[14] >= BLOCK_SIZE
                     ? move_by_host((uint8_t *)args[13], request->block, writes, request->data)
                     : move_in_memory(request->block, writes, request->data);
    if (!failed)
        request->flags = (flags & ~BLOCK_DIRTY) | BLOCK_VALID;
    return failed;
}

int EAPP_ENTRY main(void)
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t answer = {.resp_val = (unsigned long)serve(args)};
    SERVER_RETURN(&answer);
}
