/*
 * The addresses that windows lie at.  Between guards there is never anything but what was mapped for a window: where
 * a mapping goes, its addresses stay reserved, or some other part of the process would be given them.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>
#include "native.h"

#define RESERVED (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

uint8_t *range_reserve(void)
{
    void *reserved = mmap(NULL, WINDOW_BYTES + 2 * GUARD_BYTES, PROT_NONE, RESERVED, -1, 0);
    return reserved == MAP_FAILED ? NULL : (uint8_t *)reserved + GUARD_BYTES;
}

void range_give_back(uint8_t *base)
{
    munmap(base - GUARD_BYTES, WINDOW_BYTES + 2 * GUARD_BYTES);
}

bool range_possible(void)
{
    uint8_t *base = range_reserve();
    if (base)
        range_give_back(base);
    return base;
}

void range_clear(uint8_t *base, uint64_t address, uint64_t bytes)
{
    if (mmap(base + address, bytes, PROT_NONE, RESERVED | MAP_FIXED, -1, 0) == MAP_FAILED)
        abort(); /* the guest would keep what is not its own any more */
}

void range_hide(uint8_t *base)
{
    if (mprotect(base, WINDOW_BYTES, PROT_NONE))
        range_clear(base, 0, WINDOW_BYTES);
}
