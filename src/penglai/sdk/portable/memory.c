/*
 * Memory, from a monitor that does not clear it, maps more than is asked for, takes a region back as a whole, and
 * stops for good if it has none left.
 *
 * So regions are noted here: what a program unmaps of one is counted, and the region goes with the last of it.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include "../lib/runtime.h"

#define MOST_REGIONS 1024
#define MOST_BYTES (255UL << 20) /* as much as was seen to work */

static struct region {
    char *start; /* NULL: none */
    size_t size, left;
} regions[MOST_REGIONS];

static size_t total;

static size_t page_up(size_t size)
{
    return (size + EAPP_PAGE_SIZE - 1) & -(size_t)EAPP_PAGE_SIZE;
}

/* The region that has an address; for NULL a free entry. */
static struct region *find(const char *address)
{
    for (struct region *each = regions; each < regions + MOST_REGIONS; each++)
        if (address ? each->start && address >= each->start && address < each->start + each->size
                    : !each->start)
            return each;
    return NULL;
}

void *EAPP_MMAP(unsigned long ocall_func_id, void *vaddr, unsigned long size)
{
    struct region *region = find(NULL);
    size = page_up(size);
    if (!size || !region || size > MOST_BYTES - total)
        return (void *)-1;
    char *mapped = (char *)eapp_ecall(EAPP_ECALL_OCALL, ocall_func_id, (unsigned long)vaddr, size);
    if (!mapped || mapped == (char *)-1)
        return (void *)-1;
    *region = (struct region){mapped, size, size};
    total += size;
    memset(mapped, 0, size);
    return mapped;
}

int EAPP_UNMAP(unsigned long ocall_func_id, void *vaddr, unsigned long size)
{
    struct region *region = vaddr ? find(vaddr) : NULL;
    size = page_up(size);
    if (!region) /* pages that came from somebody else */
        return (int)eapp_ecall(EAPP_ECALL_OCALL, ocall_func_id, (unsigned long)vaddr, size);
    if (size > region->left)
        return -1;
    region->left -= size;
    if (region->left)
        return 0;
    total -= region->size;
    char *start = region->start;
    region->start = NULL;
    return (int)eapp_ecall(EAPP_ECALL_OCALL, ocall_func_id, (unsigned long)start, region->size);
}

void *eapp_mmap(void *vaddr, unsigned long size)
{
    return EAPP_MMAP(OCALL_MMAP, vaddr, size);
}

int eapp_unmap(void *vaddr, unsigned long size)
{
    return EAPP_UNMAP(OCALL_UNMAP, vaddr, size);
}

void *sbrk(long delta)
{
    char *top = (char *)eapp_ocall(OCALL_SBRK, 0);
    if (delta > (long)MOST_BYTES)
        return (void *)-1;
    char *next = delta ? (char *)eapp_ocall(OCALL_SBRK, (unsigned long)delta) : top;
    if (next != (char *)-1 && next > top)
        memset(top, 0, (size_t)(next - top));
    return next;
}

static long map(size_t size, int protection, int flags)
{
    if (!size)
        return -EINVAL;
    if (!(flags & MAP_ANONYMOUS))
        return -ENODEV;
    if (protection & PROT_EXEC)
        return -EACCES;
    if (flags & MAP_FIXED)
        return -ENOMEM;
    void *mapped = eapp_mmap(NULL, size);
    return mapped == MAP_FAILED ? -ENOMEM : (long)mapped;
}

static long remap(char *address, size_t old, size_t new, int flags)
{
    old = page_up(old);
    new = page_up(new);
    if (!old || !new || flags & ~MREMAP_MAYMOVE)
        return -EINVAL;
    if (new <= old)
        return new == old || !eapp_unmap(address + new, old - new) ? (long)address : -EINVAL;
    if (!(flags & MREMAP_MAYMOVE))
        return -ENOMEM;
    char *moved = eapp_mmap(NULL, new);
    if (moved == MAP_FAILED)
        return -ENOMEM;
    memcpy(moved, address, old);
    eapp_unmap(address, old);
    return (long)moved;
}

long eapp_memory_call(long number, long a, long b, long c, long d, long e)
{
    (void)e;
    switch (number) {
    case SYS_mmap:
        return map((size_t)b, (int)c, (int)d);
    case SYS_munmap:
        return b && !eapp_unmap((void *)a, (size_t)b) ? 0 : -EINVAL;
    case SYS_mremap:
        return remap((char *)a, (size_t)b, (size_t)c, (int)d);
    case SYS_mprotect:
        return c & PROT_EXEC ? -EACCES : 0;
    case SYS_madvise:
        if (c == MADV_DONTNEED)
            memset((void *)a, 0, page_up((size_t)b));
        return 0;
    default: /* brk: the heap is the program's own, by sbrk */
        return -ENOMEM;
    }
}
