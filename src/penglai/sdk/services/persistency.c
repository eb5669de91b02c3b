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
#include "original.h"

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

/* Shared memory with the host, which sees and may change it at any moment; NULL if there is none. */
static uint8_t *shared;

static int move_by_host(uint32_t block, int writes, uint8_t *data)
{
    if (writes)
        memcpy(shared, data, BLOCK_SIZE);
    if (writes ? eapp_persistency_write_sec(block) : eapp_persistency_read_sec(block))
        return -1;
    if (!writes)
        memcpy(data, shared, BLOCK_SIZE);
    return 0;
}

static int move(uint32_t block, int writes, uint8_t *data)
{
    return shared ? move_by_host(block, writes, data) : move_in_memory(block, writes, data);
}

/* For a device of the original's: whether there is such a block, on a disk with a file system. */
static int is_of_original(uint32_t block)
{
    static int is_prepared;
    if (block >= ORIGINAL_BLOCKS)
        return 0;
    if (!is_prepared)
        is_prepared = !original_prepare(move);
    return is_prepared;
}

static long serve(const unsigned long *args)
{
    struct block_request *request = (struct block_request *)args[11];
    if (!request || args[12] < sizeof *request)
        return -1;
    shared = args[14] >= BLOCK_SIZE ? (uint8_t *)args[13] : NULL;
    uint32_t flags = request->flags, block = request->block;
    int writes = (flags & BLOCK_DIRTY) != 0;
    if (!writes && flags & BLOCK_VALID)
        return -1;
    if (request->device != BLOCK_DEVICE_PLAIN && !is_of_original(block))
        return -1;
    if (move(block, writes, request->data))
        return -1;
    request->flags = (flags & ~BLOCK_DIRTY) | BLOCK_VALID;
    return 0;
}

int EAPP_ENTRY main(void)
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t answer = {.resp_val = (unsigned long)serve(args)};
    SERVER_RETURN(&answer);
}
