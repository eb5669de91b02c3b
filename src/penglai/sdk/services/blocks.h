/* The protocol of block servers: one region of two pages carries each request and its answer. */
#ifndef PENGLAI_BLOCKS_H
#define PENGLAI_BLOCKS_H

#include <stdint.h>

#define BLOCK_SIZE 4096
#define BLOCK_REGION 8192
#define BLOCK_SERVER "persistency"

/* Flags of a request. */
#define BLOCK_BUSY 1u
#define BLOCK_VALID 2u
#define BLOCK_DIRTY 4u /* write it; without this and BLOCK_VALID, read it */

/*
 * A device that Penglai-TVM does not know: every block is what was last written to it, and the disk is the
 * limit.  Any other number means a device of 1000 blocks that begins as an empty file system of the original's.
 */
#define BLOCK_DEVICE_PLAIN 0x504c4149u

struct block_request {
    uint32_t flags, unused;
    uint32_t device, block;
    uint32_t more[2];
    uint64_t of_the_caller[3]; /* pointers that it keeps in the region */
    uint8_t data[BLOCK_SIZE];
};

#endif
