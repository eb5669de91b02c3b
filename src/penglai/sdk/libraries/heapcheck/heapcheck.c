/*
 * A heap that finds mistakes at the access, for programs that are linked with -lheapcheck.  Each block has pages of
 * its own, ends where they end, and no memory lies behind them.  Pages of a block that was freed go, and its addresses
 * are not used again.  When an access faults, the console says which block it was about, and the fault takes its
 * course: its backtrace is that of the access.
 *
 * Slow, and large: a page at least for each block.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "blocks.h"
#include "eapp.h"

#define DEFAULT_ALIGNMENT 16
#define CALLER ((unsigned long)__builtin_return_address(0))

static void *allocate(size_t size, size_t alignment, unsigned long caller)
{
    void *made = heapcheck_make(size, alignment, caller);
    if (!made)
        errno = ENOMEM;
    return made;
}

void *malloc(size_t size)
{
    return allocate(size, DEFAULT_ALIGNMENT, CALLER);
}

void free(void *memory)
{
    if (memory)
        heapcheck_free(memory, CALLER);
}

void *calloc(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return allocate(bytes, DEFAULT_ALIGNMENT, CALLER);
}

void *realloc(void *memory, size_t size)
{
    void *made = allocate(size, DEFAULT_ALIGNMENT, CALLER);
    if (made && memory) {
        size_t old = heapcheck_size(memory, CALLER);
        memcpy(made, memory, old < size ? old : size);
        heapcheck_free(memory, CALLER);
    }
    return made;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    if (!alignment || alignment & (alignment - 1)) {
        errno = EINVAL;
        return NULL;
    }
    return allocate(size, alignment, CALLER);
}

void *memalign(size_t alignment, size_t size)
{
    return aligned_alloc(alignment, size);
}

int posix_memalign(void **result, size_t alignment, size_t size)
{
    if (alignment % sizeof(void *) || !alignment || alignment & (alignment - 1))
        return EINVAL;
    *result = allocate(size, alignment, CALLER);
    return *result ? 0 : ENOMEM;
}

size_t malloc_usable_size(void *memory)
{
    return memory ? heapcheck_size(memory, CALLER) : 0;
}
