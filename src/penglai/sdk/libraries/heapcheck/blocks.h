/* What the parts of the heap checker share. */
#ifndef PENGLAI_HEAPCHECK_H
#define PENGLAI_HEAPCHECK_H

#include <stddef.h>

#define hidden __attribute__((visibility("hidden")))
#define HEAPCHECK_FILL 0xa5 /* between the end of a block and that of its page: at most 15 bytes */

/*
 * A block [start, start + size), on pages [first, end); behind them is no memory.  made_by, freed_by: who called; freed
 * is 0 while it is in use.
 */
struct block {
    unsigned long first, end, start, size;
    unsigned long made_by, freed_by;
};

/* A new block, zeroed; NULL if there is no memory, or no address left. */
hidden void *heapcheck_make(size_t size, size_t alignment, unsigned long caller);

/* Of a block that is in use; anything else ends the enclave with a message. */
hidden void heapcheck_free(void *memory, unsigned long caller);
hidden size_t heapcheck_size(void *memory, unsigned long caller);

/* The block on whose pages an address is, or right before or behind; NULL if there is none. */
hidden const struct block *heapcheck_near(unsigned long address);

/* From now on faults are explained. */
hidden void heapcheck_watch(void);

#endif
