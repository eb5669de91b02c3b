/* The blocks of the heap checker, in the order of their addresses, which only rise. */
#include <string.h>
#include "blocks.h"
#include "eapp.h"
#include "print.h"

/* Between the heap of sbrk, which begins below, and what the C library reserves. */
#define LOWEST 0x1100000000UL
#define HIGHEST 0x1400000000UL
#define ROOM_AT_FIRST 512

static struct block *blocks;
static size_t count, room;
static unsigned long top = LOWEST;

static unsigned long page_up(unsigned long size)
{
    return (size + EAPP_PAGE_SIZE - 1) & ~(unsigned long)(EAPP_PAGE_SIZE - 1);
}

/* The record of one more block; they are not in blocks of their own. */
static struct block *add_record(void)
{
    if (count == room) {
        size_t wanted = room ? 2 * room : ROOM_AT_FIRST;
        struct block *larger = eapp_mmap(NULL, wanted * sizeof *larger);
        if (larger == (struct block *)-1)
            return NULL;
        if (blocks) {
            memcpy(larger, blocks, count * sizeof *blocks);
            eapp_unmap(blocks, room * sizeof *blocks);
        }
        blocks = larger;
        room = wanted;
    }
    return &blocks[count];
}

void *heapcheck_make(size_t size, size_t alignment, unsigned long caller)
{
    if (!count)
        heapcheck_watch();
    if (size > HIGHEST - LOWEST || alignment > HIGHEST - LOWEST)
        return NULL;
    unsigned long bytes = page_up(size ? size : 1);
    unsigned long first = top + (alignment > EAPP_PAGE_SIZE ? -top & (alignment - 1) : 0);
    struct block *made = add_record();
    if (!made || first > HIGHEST || bytes + EAPP_PAGE_SIZE > HIGHEST - first)
        return NULL;
    if (eapp_mmap((void *)first, bytes) != (void *)first)
        return NULL;
    unsigned long start = (first + bytes - size) & -alignment;
    *made = (struct block){first, first + bytes, start, size, caller, 0};
    count++;
    top = first + bytes + EAPP_PAGE_SIZE;
    memset((void *)(start + size), HEAPCHECK_FILL, made->end - start - size);
    return (void *)start;
}

/* The last block that begins at or below an address; NULL if there is none. */
static struct block *at_or_below(unsigned long address)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (blocks[middle].first <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? &blocks[low - 1] : NULL;
}

const struct block *heapcheck_near(unsigned long address)
{
    struct block *found = at_or_below(address);
    if (found && address < found->end + EAPP_PAGE_SIZE)
        return found;
    struct block *above = at_or_below(address + EAPP_PAGE_SIZE);
    return above != found ? above : NULL;
}

/* The fault is for the backtrace; penglai.debug.checks says in words what it is. */
static __attribute__((noreturn, noinline)) void heapcheck_failed(void)
{
    for (;;)
        __asm__ volatile("ebreak");
}

/* The block that begins there, in use and with nothing written behind its end. */
static struct block *check(unsigned long address, unsigned long caller)
{
    struct block *found = at_or_below(address);
    if (!found || found->start != address) {
        eapp_print("heapcheck: %#lx, given to free or realloc at %#lx, is no block\n", address, caller);
        heapcheck_failed();
    }
    if (found->freed_by) {
        eapp_print(
            "heapcheck: the block of %lu bytes at %#lx, made at %#lx and freed at %#lx, is freed again at "
            "%#lx\n",
            found->size, address, found->made_by, found->freed_by, caller);
        heapcheck_failed();
    }
    for (unsigned long at = address + found->size; at < found->end; at++)
        if (*(unsigned char *)at != HEAPCHECK_FILL) {
            eapp_print("heapcheck: something was written %lu bytes behind the end of the block of %lu bytes "
                       "at %#lx, "
                       "made at %#lx and freed at %#lx\n",
                       at - address - found->size, found->size, address, found->made_by, caller);
            heapcheck_failed();
        }
    return found;
}

void heapcheck_free(void *memory, unsigned long caller)
{
    struct block *found = check((unsigned long)memory, caller);
    found->freed_by = caller;
    eapp_unmap((void *)found->first, found->end - found->first);
}

size_t heapcheck_size(void *memory, unsigned long caller)
{
    return check((unsigned long)memory, caller)->size;
}
