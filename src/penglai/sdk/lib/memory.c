/* Memory of the C library: malloc's too.  All of it comes from the monitor's mmap. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include "runtime.h"

static size_t page_up(size_t size)
{
    return (size + EAPP_PAGE_SIZE - 1) & -(size_t)EAPP_PAGE_SIZE;
}

static long map(char *address, size_t size, int protection, int flags)
{
    if (!size || (flags & MAP_FIXED && (unsigned long)address % EAPP_PAGE_SIZE))
        return -EINVAL;
    if (!(flags & MAP_ANONYMOUS))
        return -ENODEV;
    if (protection & PROT_EXEC)
        return -EACCES;
    if (!(flags & MAP_FIXED))
        address = NULL;
    else
        for (size_t done = 0; done < page_up(size); done += EAPP_PAGE_SIZE)
            eapp_unmap(address + done, EAPP_PAGE_SIZE); /* what is not mapped is none the worse for it */
    void *mapped = eapp_mmap(address, size);
    return mapped == MAP_FAILED ? -ENOMEM : (long)mapped;
}

static long unmap(char *address, size_t size)
{
    return size && !eapp_unmap(address, size) ? 0 : -EINVAL;
}

static long remap(char *address, size_t old, size_t new, int flags)
{
    old = page_up(old);
    new = page_up(new);
    if (!old || !new || flags & ~MREMAP_MAYMOVE)
        return -EINVAL;
    if (new <= old)
        return new == old || !eapp_unmap(address + new, old - new) ? (long)address : -EINVAL;
    if (eapp_mmap(address + old, new - old) != MAP_FAILED)
        return (long)address;
    if (!(flags & MREMAP_MAYMOVE))
        return -ENOMEM;
    char *moved = eapp_mmap(NULL, new);
    if (moved == MAP_FAILED)
        return -ENOMEM;
    memcpy(moved, address, old);
    eapp_unmap(address, old);
    return (long)moved;
}

/* Pages are always readable and writable and never executable: what asks for less is content with more. */
static long protect(int protection)
{
    return protection & PROT_EXEC ? -EACCES : 0;
}

static long advise(char *address, size_t size, int advice)
{
    if (advice == MADV_DONTNEED)
        memset(address, 0, page_up(size));
    return 0;
}

long eapp_memory_call(long number, long a, long b, long c, long d, long e)
{
    (void)e;
    switch (number) {
    case SYS_mmap:
        return map((char *)a, (size_t)b, (int)c, (int)d);
    case SYS_munmap:
        return unmap((char *)a, (size_t)b);
    case SYS_mremap:
        return remap((char *)a, (size_t)b, (size_t)c, (int)d);
    case SYS_mprotect:
        return protect((int)c);
    case SYS_madvise:
        return advise((char *)a, (size_t)b, (int)c);
    default: /* brk: the heap is the program's own, by sbrk */
        return -ENOMEM;
    }
}
