/*
 * The program's address space.
 *
 * What a program maps gets its pages when they are used: when an access to them faults, or when a call is given
 * a pointer to them.  The monitor knows neither read-only nor executable pages beside the image's, so
 * protection is kept here for pointers of calls, and enforced for what has no pages yet: guards of stacks.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include "areas.h"

#define LARGE_PIECE (128 * PAGE) /* in areas larger than LARGE */
#define LARGE (4UL << 20)
#define STACK (8UL << 20)
#define GUARD (1UL << 20)

void pages_of_segment(const struct linux_segment *segment)
{
    areas_insert((struct area){.start = segment->start,
                               .end = segment->end,
                               .kind = IMAGE,
                               .backed = 1,
                               .protection = (unsigned char)segment->protection,
                               .executable = !!(segment->protection & PROT_EXEC)});
    areas_count(segment->end - segment->start);
}

int memory_begin(const struct linux_image *image)
{
    if (!areas_begin())
        return 0;
    for (word i = 0; i < image->segment_count; i++) {
        const struct linux_segment *segment = &image->segments[i];
        if (segment->node)
            continue; /* until it is mapped */
        if (!areas_room(3))
            return 0;
        pages_of_segment(segment);
    }
    areas_insert((struct area){.start = MAPS_END - STACK, .end = MAPS_END, .protection = BOTH});
    areas_insert((struct area){.start = MAPS_END - STACK - GUARD, .end = MAPS_END - STACK});
    return 1;
}

/* ---- pages ---- */

long pages_back(word start, word end)
{
    if (!areas_room(2))
        return -ENOMEM;
    if (!monitor_map(start, end - start))
        return -ENOMEM;
    areas_split(start);
    areas_split(end);
    area(areas_at(start))->backed = 1;
    areas_count(end - start);
    areas_join(start, end);
    return 0;
}

/* The same for the piece of an area that has this address, and for all of it up to `until`. */
static long back_piece(const struct area *found, word address, word until)
{
    int is_large = found->end - found->start > LARGE && found->end != MAPS_END; /* most stacks stay small */
    word piece = is_large ? LARGE_PIECE : PIECE;
    word start = address & -piece, end = (until + piece - 1) & -piece;
    start = start < found->start ? found->start : start;
    end = end > found->end ? found->end : end;
    if (!pages_back(start, end))
        return 0;
    return pages_back(address & -PAGE,
                      page_up(until) > end ? end : page_up(until)); /* as little as will do */
}

static int allows(const struct area *found, int writes)
{
    return found->kind != OWN && (writes ? found->protection & PROT_WRITE : found->protection != 0);
}

int memory_fault(word address, int writes)
{
    struct area *found = area(areas_at(address));
    if (!found || found->start > address || found->backed || !allows(found, writes))
        return 0;
    return !back_piece(found, address, address + 1);
}

int memory_reach(word address, word size, int writes)
{
    word end;
    if (!size)
        return 0;
    if (__builtin_add_overflow(address, size, &end))
        return -EFAULT;
    while (address < end) {
        struct area *found = area(areas_at(address));
        if (!found || found->start > address || !allows(found, writes))
            return -EFAULT;
        word part = found->end < end ? found->end : end;
        if (!found->backed && back_piece(found, address, part))
            return -EFAULT;
        address = part;
    }
    return 0;
}

long memory_text(char *out, word address, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if ((!i || !((address + i) % PAGE)) && memory_reach(address + i, 1, 0))
            return -EFAULT;
        out[i] = ((const char *)address)[i];
        if (!out[i])
            return (long)i;
    }
    return -ENAMETOOLONG;
}

/* ---- areas ---- */

long pages_clear(word start, word end)
{
    if (!areas_room(2))
        return -ENOMEM;
    struct area *found;
    for (size_t i = areas_at(start); (found = area(i)) && found->start < end; i++)
        if (found->kind == OWN)
            return -EINVAL;
    areas_split(start);
    areas_split(end);
    size_t index = areas_at(start);
    while ((found = area(index)) && found->start < end) {
        if (found->kind == SHARED) { /* still the file's */
            index++;
            continue;
        }
        if (found->backed) {
            areas_count(found->start - found->end);
            if (found->kind == PROGRAM)
                monitor_unmap(found->start, found->end - found->start);
        }
        areas_remove(index);
    }
    return 0;
}

long pages_add(word start, word size, word protection)
{
    if (!areas_room(1))
        return -ENOMEM;
    areas_insert((struct area){.start = start, .end = start + size, .protection = (unsigned char)protection});
    areas_join(start, start + size);
    return 0;
}

word memory_take(word size)
{
    size = page_up(size);
    word start = areas_gap(OWN_START, OWN_END, size);
    if (!start || !areas_room(1) || !monitor_map(start, size))
        return 0;
    areas_insert((struct area){.start = start, .end = start + size, .kind = OWN, .backed = 1});
    areas_count(size);
    areas_join(start, start + size);
    return start;
}

void memory_give(word address, word size)
{
    size = page_up(size);
    if (!areas_room(2))
        return;
    areas_split(address);
    areas_split(address + size);
    while (area(areas_at(address)) && area(areas_at(address))->start < address + size)
        areas_remove(areas_at(address));
    areas_count(-size);
    monitor_unmap(address, size);
}

word memory_resident(void)
{
    return areas_backed();
}

/* 0 if all of it is the program's. */
long pages_check(word start, word end)
{
    while (start < end) {
        struct area *found = area(areas_at(start));
        if (!found || found->start > start || found->kind == OWN)
            return -EFAULT;
        start = found->end;
    }
    return 0;
}

/* ---- calls ---- */

long call_mprotect(word address, word size, word protection)
{
    word end = address + page_up(size);
    if (address % PAGE || end < address || protection & ~(word)(BOTH | PROT_EXEC))
        return -EINVAL;
    if (!size)
        return 0;
    if (pages_check(address, end))
        return -ENOMEM;
    for (size_t i = areas_at(address); protection & PROT_EXEC && area(i) && area(i)->start < end; i++)
        if (!area(i)->executable)
            return -EACCES;
    if (!areas_room(2))
        return -ENOMEM;
    areas_split(address);
    areas_split(end);
    for (size_t i = areas_at(address); area(i) && area(i)->start < end; i++)
        area(i)->protection = (unsigned char)protection;
    areas_join(address, end);
    return 0;
}

static long drop_pages(word start, word end)
{
    if (!areas_room(2))
        return -ENOMEM;
    areas_split(start);
    areas_split(end);
    for (size_t i = areas_at(start); area(i) && area(i)->start < end; i++)
        if (area(i)->kind == PROGRAM && area(i)->backed) {
            monitor_unmap(area(i)->start, area(i)->end - area(i)->start);
            areas_count(area(i)->start - area(i)->end);
            area(i)->backed = 0;
        }
    areas_join(start, end);
    return 0;
}

long call_madvise(word address, word size, word advice)
{
    word end = address + page_up(size);
    if (address % PAGE || end < address || advice > 25)
        return -EINVAL;
    if (pages_check(address, end))
        return -ENOMEM;
    return advice == MADV_DONTNEED && size ? drop_pages(address, end) : 0;
}

long call_mincore(word address, word size, word vector)
{
    word pages = page_up(size) / PAGE;
    if (address % PAGE || size > MAPS_END || address > MAPS_END - size)
        return -EINVAL;
    if (pages_check(address, address + pages * PAGE))
        return -ENOMEM;
    if (memory_reach(vector, pages, 1))
        return -EFAULT;
    for (word i = 0; i < pages; i++)
        ((char *)vector)[i] = (char)area(areas_at(address + i * PAGE))->backed;
    return 0;
}

long call_msync(word address, word size, word flags)
{
    if (flags & ~(word)(MS_ASYNC | MS_INVALIDATE | MS_SYNC) || (flags & MS_ASYNC && flags & MS_SYNC))
        return -EINVAL;
    if (address % PAGE || size > MAPS_END || address > MAPS_END - size)
        return -EINVAL;
    return pages_check(address, address + page_up(size)) ? -ENOMEM : 0;
}

/* ---- /proc/self/maps ---- */

static size_t put_address(char *out, word address)
{
    for (int i = 0; i < 12; i++)
        out[i] = "0123456789abcdef"[address >> (44 - 4 * i) & 15];
    return 12;
}

size_t memory_describe(char *out, size_t room)
{
    size_t used = 0;
    struct area *found;
    for (size_t i = 0; (found = area(i)) && used + 80 < room; i++) {
        if (found->kind == OWN)
            continue;
        used += put_address(out + used, found->start);
        out[used++] = '-';
        used += put_address(out + used, found->end);
        memcpy(out + used, " ---p 00000000 00:00 0", 22);
        out[used + 1] = found->protection & PROT_READ ? 'r' : '-';
        out[used + 2] = found->protection & PROT_WRITE ? 'w' : '-';
        out[used + 3] = found->protection & PROT_EXEC ? 'x' : '-';
        used += 22;
        const char *name = found->end == HEAP_START     ? ""
                           : found->start == HEAP_START ? " [heap]"
                           : found->end == MAPS_END     ? " [stack]"
                                                        : "";
        memcpy(out + used, name, strlen(name));
        used += strlen(name);
        out[used++] = '\n';
    }
    return used;
}
