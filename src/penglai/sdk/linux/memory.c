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

#define BOTH (PROT_READ | PROT_WRITE)
#define PIECE (16 * PAGE)       /* gets its pages at once */
#define LARGE_PIECE (128 * PAGE) /* in areas larger than LARGE */
#define LARGE (4UL << 20)
#define STACK (8UL << 20)
#define GUARD (1UL << 20)

static word heap_end = HEAP_START;

static word page_up(word size)
{
    return (size + PAGE - 1) & -PAGE;
}

static int is_range(word start, word size, word low, word high)
{
    return start >= low && size <= high - low && start <= high - size;
}

static void insert_segment(const struct linux_segment *segment)
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
        insert_segment(segment);
    }
    areas_insert((struct area){.start = MAPS_END - STACK, .end = MAPS_END, .protection = BOTH});
    areas_insert((struct area){.start = MAPS_END - STACK - GUARD, .end = MAPS_END - STACK});
    return 1;
}

/* ---- pages ---- */

/* Gives [start, end), inside of one area, its pages; 0 or -ENOMEM. */
static long back(word start, word end)
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
    if (!back(start, end))
        return 0;
    return back(address & -PAGE, page_up(until) > end ? end : page_up(until)); /* as little as will do */
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

/* Nothing is at [start, end) any more; 0, -EINVAL if that is not the program's, or -ENOMEM. */
static long clear(word start, word end)
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

static long add(word start, word size, word protection)
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

/* ---- calls ---- */

long call_brk(word end)
{
    word old = page_up(heap_end), new = page_up(end);
    if (end < HEAP_START || end > HEAP_END)
        return (long)heap_end;
    if (new > old ? add(old, new - old, BOTH) : new < old ? clear(new, old) : 0)
        return (long)heap_end;
    heap_end = end;
    return (long)end;
}

static long fill(word start, word size, const struct file *file, word offset)
{
    struct node *node = file->node;
    if (offset >= node->size)
        return 0;
    word bytes = node->size - offset < size ? node->size - offset : size;
    struct area *found = area(areas_at(start));
    if (!found->backed && back(start, start + page_up(bytes)))
        return -ENOMEM;
    memcpy((void *)start, node->data + offset, bytes);
    return 0;
}

/* Memory that was packed as this file's, and is in no use yet, for a mapping of the file from its start. */
static word find_packed(const struct node *node, word size)
{
    const struct linux_image *image = (const struct linux_image *)LINUX_IMAGE;
    word start = 0, end = 0;
    for (word i = 0; i < image->segment_count; i++) {
        const struct linux_segment *segment = &image->segments[i];
        if (segment->node != node)
            continue;
        start = start && start < segment->start ? start : segment->start;
        end = segment->end > end ? segment->end : end;
    }
    return start && end - start >= size && areas_free(start, end) ? start : 0;
}

static int is_packed(word start, word size)
{
    struct area *found = area(areas_at(start));
    return found && found->kind == IMAGE && found->start <= start && start + size <= found->end;
}

static long map_packed(const struct node *node, word start)
{
    const struct linux_image *image = (const struct linux_image *)LINUX_IMAGE;
    for (word i = 0; i < image->segment_count; i++) {
        const struct linux_segment *segment = &image->segments[i];
        if (segment->node != node)
            continue;
        if (!areas_room(1))
            return -ENOMEM;
        insert_segment(segment);
    }
    return (long)start;
}

/* A fixed mapping inside of what was packed: its pages are in place, and code has to be the file's own. */
static long map_in_place(word start, word size, word protection, const struct file *file, word offset)
{
    const struct linux_image *image = (const struct linux_image *)LINUX_IMAGE;
    for (word i = 0; file && i < image->segment_count; i++) {
        const struct linux_segment *segment = &image->segments[i];
        if (segment->node == file->node && segment->start <= start && start + size <= segment->end &&
            segment->offset + (start - segment->start) == offset)
            return (long)start;
    }
    struct area *found = area(areas_at(start));
    if (protection & PROT_EXEC || !(found->protection & PROT_WRITE))
        return -EACCES;
    memset((void *)start, 0, size);
    return file && fill(start, size, file, offset) ? -ENOMEM : (long)start;
}

static long place(word address, word size, word flags)
{
    if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
        if (address % PAGE)
            return -EINVAL;
        if (!is_range(address, size, HEAP_START, MAPS_END))
            return -ENOMEM;
        if (flags & MAP_FIXED_NOREPLACE)
            return areas_free(address, address + size) ? (long)address : -EEXIST;
        long error = clear(address, address + size);
        return error ? error : (long)address;
    }
    address &= -PAGE;
    if (is_range(address, size, MAPS_START, MAPS_END) && areas_free(address, address + size))
        return (long)address;
    word found = areas_gap(MAPS_START, MAPS_END, size);
    return found ? (long)found : -ENOMEM;
}

static long check_file(word flags, word protection, struct file *file, word offset)
{
    if (!file)
        return -EBADF;
    if (offset % PAGE)
        return -EINVAL;
    if (file->kind == ZERO_DEVICE)
        return 0;
    if (file->kind != REGULAR)
        return -ENODEV;
    if ((flags & MAP_TYPE) == MAP_PRIVATE || !(protection & PROT_WRITE))
        return 0;
    return flags & MAP_FIXED ? -ENODEV : (file->flags & O_ACCMODE) != O_RDWR ? -EACCES : 0;
}

/* What is written there is the file's: the program gets the very pages that have its data. */
static long map_shared(word size, word protection, const struct file *file, word offset)
{
    long error = tree_share(file->node);
    if (error || offset + size > file->node->room)
        return error ? error : -ENOMEM;
    if (!areas_room(2))
        return -ENOMEM;
    word start = (word)file->node->data + offset;
    areas_split(start);
    areas_split(start + size);
    for (size_t i = areas_at(start); area(i)->start < start + size; i++) {
        area(i)->kind = SHARED;
        area(i)->protection = (unsigned char)protection;
    }
    areas_join(start, start + size);
    return (long)start;
}

long call_mmap(word address, word size, word protection, word flags, word descriptor, word offset)
{
    struct file *file = flags & MAP_ANONYMOUS ? NULL : descriptor_file(descriptor);
    if (!size || !(flags & MAP_TYPE) || size > MAPS_END)
        return size > MAPS_END ? -ENOMEM : -EINVAL;
    long error = flags & MAP_ANONYMOUS ? 0 : check_file(flags, protection, file, offset);
    if (error)
        return error;
    if (file && file->kind == ZERO_DEVICE)
        file = NULL;
    size = page_up(size);
    if (flags & MAP_FIXED && is_packed(address, size))
        return address % PAGE ? -EINVAL : map_in_place(address, size, protection, file, offset);
    word packed = file && !offset ? find_packed(file->node, size) : 0;
    if (packed && !(flags & MAP_FIXED))
        return map_packed(file->node, packed);
    if (protection & PROT_EXEC)
        return -EACCES;
    if (file && (flags & MAP_TYPE) != MAP_PRIVATE && protection & PROT_WRITE)
        return map_shared(size, protection, file, offset);
    long start = place(address, size, flags);
    if (start < 0 || (error = add((word)start, size, protection)))
        return start < 0 ? start : error;
    if (file && (error = fill((word)start, size, file, offset))) {
        clear((word)start, (word)start + size);
        return error;
    }
    if (!file && protection && size <= PIECE)
        memory_reach((word)start, size, 0);
    return start;
}

long call_munmap(word address, word size)
{
    if (address % PAGE || !size || size > MAPS_END || address > MAPS_END - size)
        return -EINVAL;
    return clear(address, address + page_up(size));
}

/* 0 if all of it is the program's. */
static long check_mapped(word start, word end)
{
    while (start < end) {
        struct area *found = area(areas_at(start));
        if (!found || found->start > start || found->kind == OWN)
            return -EFAULT;
        start = found->end;
    }
    return 0;
}

static long move(word from, word old, word to, word new)
{
    word protection = area(areas_at(from))->protection, end = from + (old < new ? old : new);
    long error = add(to, new, protection ? protection : BOTH);
    for (word at = from; !error && at < end;) {
        struct area found = *area(areas_at(at));
        word part = found.end < end ? found.end : end;
        if (found.backed) {
            error = memory_reach(to + (at - from), part - at, 0);
            if (!error)
                memcpy((void *)(to + (at - from)), (const void *)at, part - at);
        }
        at = part;
    }
    if (error) {
        clear(to, to + new);
        return -ENOMEM;
    }
    clear(from, from + old);
    return (long)to;
}

long call_mremap(word address, word old, word size, word flags, word to)
{
    word known = MREMAP_MAYMOVE | MREMAP_FIXED;
    if (address % PAGE || !old || !size || flags & ~known || size > MAPS_END || old > MAPS_END)
        return -EINVAL;
    old = page_up(old);
    size = page_up(size);
    if (address > MAPS_END - old || check_mapped(address, address + old))
        return -EFAULT;
    if (flags & MREMAP_FIXED) {
        int overlaps = to < address + old && address < to + size;
        long start = overlaps || !(flags & MREMAP_MAYMOVE) ? -EINVAL : place(to, size, MAP_FIXED);
        return start < 0 ? start : move(address, old, (word)start, size);
    }
    if (size <= old)
        return size < old && clear(address + size, address + old) ? -ENOMEM : (long)address;
    if (address >= HEAP_START && size - old <= MAPS_END - address - old &&
        areas_free(address + old, address + size)) {
        long error = add(address + old, size - old, area(areas_at(address))->protection);
        return error ? error : (long)address;
    }
    if (!(flags & MREMAP_MAYMOVE))
        return -ENOMEM;
    long start = place(0, size, 0);
    return start < 0 ? start : move(address, old, (word)start, size);
}

long call_mprotect(word address, word size, word protection)
{
    word end = address + page_up(size);
    if (address % PAGE || end < address || protection & ~(word)(BOTH | PROT_EXEC))
        return -EINVAL;
    if (!size)
        return 0;
    if (check_mapped(address, end))
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
    if (check_mapped(address, end))
        return -ENOMEM;
    return advice == MADV_DONTNEED && size ? drop_pages(address, end) : 0;
}

long call_mincore(word address, word size, word vector)
{
    word pages = page_up(size) / PAGE;
    if (address % PAGE || size > MAPS_END || address > MAPS_END - size)
        return -EINVAL;
    if (check_mapped(address, address + pages * PAGE))
        return -ENOMEM;
    if (memory_reach(vector, pages, 1))
        return -EFAULT;
    for (word i = 0; i < pages; i++)
        ((char *)vector)[i] = (char)area(areas_at(address + i * PAGE))->backed;
    return 0;
}

long call_msync(word address, word size)
{
    if (address % PAGE || size > MAPS_END || address > MAPS_END - size)
        return -EINVAL;
    return check_mapped(address, address + page_up(size)) ? -ENOMEM : 0;
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
