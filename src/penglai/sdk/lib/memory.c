/*
 * Memory of the C library: malloc's too.  All of it comes from the monitor's mmap, but for what is only
 * reserved (PROT_NONE), which has addresses, and gets pages when it is made accessible.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include "runtime.h"

/* Where addresses are reserved: the monitor maps down from far above, the heap grows from far below. */
#define RESERVED_LOW 0x1400000000UL
#define RESERVED_HIGH 0x2800000000UL
#define USER_END 0x4000000000UL

static unsigned long page_up(unsigned long size)
{
    return (size + EAPP_PAGE_SIZE - 1) & -EAPP_PAGE_SIZE;
}

static int is_place(unsigned long start, unsigned long size)
{
    return start % EAPP_PAGE_SIZE == 0 && start < USER_END && size <= USER_END - start;
}

static unsigned long lesser(unsigned long a, unsigned long b)
{
    return a < b ? a : b;
}

/* Pages at an address and nowhere else; 0 if it cannot. */
static int map_at(unsigned long start, unsigned long end)
{
    if (eapp_mmap((void *)start, end - start) == MAP_FAILED)
        return 0;
    eapp_ranges_note(start, end, 0);
    return 1;
}

static void unmap_pieces(unsigned long start, unsigned long end)
{
    const struct eapp_range *range;
    for (unsigned long at = start; (range = eapp_range_behind(at)) && range->start < end; at = range->end) {
        unsigned long from = range->start < at ? at : range->start;
        if (!range->reserved)
            eapp_unmap((void *)from, lesser(range->end, end) - from);
        if (range->end >= end)
            break;
    }
}

/* What is not mapped does no harm.  Memory that is not of these mappings, but of eapp_mmap, goes as well. */
static long unmap(unsigned long start, unsigned long size)
{
    size = page_up(size);
    if (!size || !is_place(start, size))
        return -EINVAL;
    if (!eapp_ranges_ready())
        return -ENOMEM;
    if (eapp_unmap((void *)start, size))
        unmap_pieces(start, start + size);
    eapp_ranges_forget(start, start + size);
    return 0;
}

static long reserve(unsigned long start, unsigned long size)
{
    if (!start)
        start = eapp_ranges_gap(RESERVED_LOW, RESERVED_HIGH, size);
    if (!start)
        return -ENOMEM;
    eapp_ranges_note(start, start + size, 1);
    return (long)start;
}

static long map_anywhere(unsigned long size)
{
    void *mapped = eapp_mmap(NULL, size);
    if (mapped == MAP_FAILED)
        return -ENOMEM;
    eapp_ranges_note((unsigned long)mapped, (unsigned long)mapped + size, 0);
    return (long)mapped;
}

static long map(unsigned long start, unsigned long size, int protection, int flags)
{
    int fixed = (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0;
    if (!size)
        return -EINVAL;
    if (size > USER_END)
        return -ENOMEM;
    size = page_up(size);
    if (fixed && (!start || !is_place(start, size)))
        return start % EAPP_PAGE_SIZE ? -EINVAL : -ENOMEM;
    if (!(flags & MAP_ANONYMOUS))
        return -ENODEV;
    if (protection & PROT_EXEC)
        return -EACCES;
    if (!eapp_ranges_ready())
        return -ENOMEM;
    if (fixed && flags & MAP_FIXED_NOREPLACE) {
        const struct eapp_range *range = eapp_range_behind(start);
        if (range && range->start < start + size)
            return -EEXIST;
    } else if (fixed) {
        unmap(start, size);
    }
    if (protection == PROT_NONE)
        return reserve(fixed ? start : 0, size);
    if (!fixed)
        return map_anywhere(size);
    return map_at(start, start + size) ? (long)start : -ENOMEM;
}

static int is_free(unsigned long start, unsigned long end)
{
    const struct eapp_range *range = eapp_range_behind(start);
    return end <= USER_END && (!range || range->start >= end);
}

static long grow(unsigned long start, unsigned long old, unsigned long new, int reserved, int may_move)
{
    if (is_free(start + old, start + new)) {
        if (!reserved && map_at(start + old, start + new))
            return (long)start;
        if (reserved)
            return reserve(start + old, new - old) < 0 ? -ENOMEM : (long)start;
    }
    if (!may_move)
        return -ENOMEM;
    long moved = reserved ? reserve(0, new) : map_anywhere(new);
    if (moved < 0)
        return moved;
    if (!reserved)
        memcpy((void *)moved, (void *)start, old);
    unmap(start, old);
    return moved;
}

static long remap(unsigned long start, unsigned long old, unsigned long new, int flags)
{
    if (!old || !new || old > USER_END || flags & ~MREMAP_MAYMOVE || start % EAPP_PAGE_SIZE)
        return -EINVAL;
    if (new > USER_END || !eapp_ranges_ready())
        return -ENOMEM;
    old = page_up(old);
    new = page_up(new);
    const struct eapp_range *range = eapp_range_behind(start);
    if (!range || range->start > start || range->end - start < old)
        return -EFAULT;
    if (new > old)
        return grow(start, old, new, range->reserved, flags & MREMAP_MAYMOVE);
    return new == old || !unmap(start + new, old - new) ? (long)start : -ENOMEM;
}

/* What is reserved gets pages; others stay readable and writable, and are never executable. */
static long protect(unsigned long start, unsigned long size, int protection)
{
    if (protection & PROT_EXEC)
        return -EACCES;
    if (start % EAPP_PAGE_SIZE)
        return -EINVAL;
    size = page_up(size);
    if (protection == PROT_NONE || !is_place(start, size))
        return 0;
    const struct eapp_range *range;
    for (unsigned long at = start, end = start + size;
         at < end && (range = eapp_range_behind(at)) && range->start < end;) {
        unsigned long from = range->start < at ? at : range->start;
        at = lesser(range->end, end);
        if (range->reserved && (!eapp_ranges_ready() || !map_at(from, at)))
            return -ENOMEM;
    }
    return 0;
}

static long advise(unsigned long start, unsigned long size, int advice)
{
    if (advice != MADV_DONTNEED)
        return 0;
    if (start % EAPP_PAGE_SIZE)
        return -EINVAL;
    size = page_up(size);
    if (start < RESERVED_LOW) { /* the program's image, or its heap */
        memset((void *)start, 0, size);
        return 0;
    }
    const struct eapp_range *range = eapp_range_behind(start);
    for (unsigned long end = start + size; range && range->start < end;) {
        unsigned long from = range->start < start ? start : range->start;
        start = lesser(range->end, end);
        if (!range->reserved)
            memset((void *)from, 0, start - from);
        range = start < end ? eapp_range_behind(start) : NULL;
    }
    return 0;
}

long eapp_memory_call(long number, long a, long b, long c, long d, long e)
{
    (void)e;
    unsigned long start = (unsigned long)a, size = (unsigned long)b;
    switch (number) {
    case SYS_mmap:
        return map(start, size, (int)c, (int)d);
    case SYS_munmap:
        return unmap(start, size);
    case SYS_mremap:
        return remap(start, size, (unsigned long)c, (int)d);
    case SYS_mprotect:
        return protect(start, size, (int)c);
    case SYS_madvise:
        return advise(start, size, (int)c);
    default: /* brk: the heap is the program's own, by sbrk */
        return -ENOMEM;
    }
}
