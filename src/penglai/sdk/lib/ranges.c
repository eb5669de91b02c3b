/* Which addresses the C library's mappings have: with pages of the monitor's, or only reserved. */
#include <string.h>
#include <sys/mman.h>
#include "runtime.h"

#define FIRST_ROOM 128
#define SPLITS 2

static struct eapp_range first[FIRST_ROOM];
static struct eapp_range *ranges = first; /* by address; none overlap, and those that adjoin differ */
static size_t count, room = FIRST_ROOM;

/* Makes room for what one call can add; 0 if there is no memory for it. */
int eapp_ranges_ready(void)
{
    if (count + SPLITS <= room)
        return 1;
    struct eapp_range *larger = eapp_mmap(NULL, 2 * room * sizeof *larger);
    if (larger == MAP_FAILED)
        return 0;
    memcpy(larger, ranges, count * sizeof *larger);
    if (ranges != first)
        eapp_unmap(ranges, room * sizeof *ranges);
    ranges = larger;
    room *= 2;
    return 1;
}

/* The first one that ends behind an address; count if there is none. */
static size_t behind(unsigned long address)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (ranges[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct eapp_range *eapp_range_behind(unsigned long address)
{
    size_t index = behind(address);
    return index < count ? &ranges[index] : NULL;
}

static void insert(size_t index, struct eapp_range range)
{
    memmove(&ranges[index + 1], &ranges[index], (count++ - index) * sizeof *ranges);
    ranges[index] = range;
}

static void erase(size_t from, size_t to)
{
    memmove(&ranges[from], &ranges[to], (count - to) * sizeof *ranges);
    count -= to - from;
}

void eapp_ranges_forget(unsigned long start, unsigned long end)
{
    size_t index = behind(start);
    if (index < count && ranges[index].start < start) {
        struct eapp_range rest = ranges[index];
        ranges[index++].end = start;
        if (rest.end > end) {
            rest.start = end;
            insert(index, rest);
            return;
        }
    }
    size_t last = index;
    while (last < count && ranges[last].end <= end)
        last++;
    if (last < count && ranges[last].start < end)
        ranges[last].start = end;
    erase(index, last);
}

void eapp_ranges_note(unsigned long start, unsigned long end, int reserved)
{
    eapp_ranges_forget(start, end);
    size_t index = behind(start);
    int joins_above = index < count && ranges[index].start == end && ranges[index].reserved == reserved;
    int joins_below = index && ranges[index - 1].end == start && ranges[index - 1].reserved == reserved;
    if (joins_above)
        ranges[index].start = start;
    else if (!joins_below)
        insert(index, (struct eapp_range){start, end, reserved});
    if (joins_below) {
        ranges[index - 1].end = joins_above ? ranges[index].end : end;
        erase(index, index + (size_t)joins_above);
    }
}

/* The highest address of size bytes in [low, high) that no range has; 0 if there is none. */
unsigned long eapp_ranges_gap(unsigned long low, unsigned long high, unsigned long size)
{
    for (size_t index = behind(low); index < count && ranges[index].start < low; index++)
        low = ranges[index].end;
    size_t above = behind(high - 1);
    if (above < count && ranges[above].start < high)
        high = ranges[above].start;
    for (size_t index = above; index && ranges[index - 1].end > low; index--) {
        if (high - ranges[index - 1].end >= size)
            return high - size;
        high = ranges[index - 1].start;
    }
    return high > low && high - low >= size ? high - size : 0;
}
