/* What a program maps, and its heap. */
#include <fcntl.h>
#include <sys/mman.h>
#include "areas.h"

static word heap_end = HEAP_START;

static int is_range(word start, word size, word low, word high)
{
    return start >= low && size <= high - low && start <= high - size;
}

long call_brk(word end)
{
    word old = page_up(heap_end), new = page_up(end);
    if (end < HEAP_START || end > HEAP_END)
        return (long)heap_end;
    if (new > old ? pages_add(old, new - old, BOTH) : new < old ? pages_clear(new, old) : 0)
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
    if (!found->backed && pages_back(start, start + page_up(bytes)))
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
        pages_of_segment(segment);
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
        long error = pages_clear(address, address + size);
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
    if (start < 0 || (error = pages_add((word)start, size, protection)))
        return start < 0 ? start : error;
    if (file && (error = fill((word)start, size, file, offset))) {
        pages_clear((word)start, (word)start + size);
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
    return pages_clear(address, address + page_up(size));
}

static long move(word from, word old, word to, word new)
{
    word protection = area(areas_at(from))->protection, end = from + (old < new ? old : new);
    long error = pages_add(to, new, protection ? protection : BOTH);
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
        pages_clear(to, to + new);
        return -ENOMEM;
    }
    pages_clear(from, from + old);
    return (long)to;
}

long call_mremap(word address, word old, word size, word flags, word to)
{
    word known = MREMAP_MAYMOVE | MREMAP_FIXED;
    if (address % PAGE || !old || !size || flags & ~known || size > MAPS_END || old > MAPS_END)
        return -EINVAL;
    old = page_up(old);
    size = page_up(size);
    if (address > MAPS_END - old || pages_check(address, address + old))
        return -EFAULT;
    if (flags & MREMAP_FIXED) {
        int overlaps = to < address + old && address < to + size;
        long start = overlaps || !(flags & MREMAP_MAYMOVE) ? -EINVAL : place(to, size, MAP_FIXED);
        return start < 0 ? start : move(address, old, (word)start, size);
    }
    if (size <= old)
        return size < old && pages_clear(address + size, address + old) ? -ENOMEM : (long)address;
    if (address >= HEAP_START && size - old <= MAPS_END - address - old &&
        areas_free(address + old, address + size)) {
        long error = pages_add(address + old, size - old, area(areas_at(address))->protection);
        return error ? error : (long)address;
    }
    if (!(flags & MREMAP_MAYMOVE))
        return -ENOMEM;
    long start = place(0, size, 0);
    return start < 0 ? start : move(address, old, (word)start, size);
}
