/* Reading and writing, and listing directories. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "client.h"

#define LARGE_REGION (15UL * EAPP_PAGE_SIZE)

static struct region large = {NULL, LARGE_REGION};

/* How many bytes of a piece fit beside the head of the request, and the region for it. */
static struct region *region_for(size_t size)
{
    struct region *region = size + sizeof(struct files_transfer) > file_region.size ? &large : &file_region;
    return file_find_region(region) ? NULL : region;
}

static long transfer_piece(enum files_operation operation, int file, char *buffer, size_t size)
{
    struct region *region = region_for(size);
    if (!region)
        return -ENOMEM;
    size_t room = region->size - sizeof(struct files_transfer);
    struct files_transfer head = {file_table[file].descriptor, (int32_t)(size < room ? size : room)};
    memcpy(region->start, &head, sizeof head);
    if (operation == OP_WRITE)
        memcpy(region->start + sizeof head, buffer, (size_t)head.size);
    long done = file_errno(file_call(operation, region), EBADF);
    if (done > head.size)
        return -EIO;
    if (operation == OP_READ && done > 0)
        memcpy(buffer, region->start, (size_t)done);
    return done;
}

static long transfer(enum files_operation operation, int file, char *buffer, size_t size)
{
    size_t total = 0;
    if (file_table[file].descriptor < 0)
        return -EISDIR;
    while (total < size) {
        long done = transfer_piece(operation, file, buffer + total, size - total);
        if (done < 0)
            return total ? (long)total : done;
        if (!done)
            break;
        total += (size_t)done;
    }
    return (long)total;
}

long file_read(int file, void *buffer, size_t size)
{
    return transfer(OP_READ, file, buffer, size);
}

long file_write(int file, void *buffer, size_t size)
{
    return transfer(OP_WRITE, file, buffer, size);
}

long file_seek(int file, long offset, int whence)
{
    struct files_seek request = {file_table[file].descriptor, (int32_t)offset, whence};
    if (request.offset != offset)
        return -EINVAL;
    if (file_table[file].descriptor < 0) {
        file_table[file].listed = (unsigned long)offset;
        return offset;
    }
    return file_errno(file_ask(OP_SEEK, &request, sizeof request), EINVAL);
}

long file_resize(int file, long size)
{
    struct files_transfer request = {file_table[file].descriptor, (int32_t)size};
    if (size < 0 || request.size != size || file_table[file].descriptor < 0)
        return -EINVAL;
    if (!file_server_knows_more && size)
        return -ENOSYS;
    return file_errno(file_ask(file_server_knows_more ? OP_RESIZE : OP_TRUNCATE, &request, sizeof request),
                      EINVAL);
}

/* ---- directories ---- */

/* The entry as Linux has it; its size, 0 if there is no room. */
static size_t put_entry(const struct files_entry *from, unsigned long next, char *buffer, size_t room)
{
    struct dirent entry = {.d_ino = next, .d_off = (off_t)next};
    size_t length = strnlen(from->name, sizeof from->name - 1);
    size_t size = (offsetof(struct dirent, d_name) + length + 1 + 7) & ~(size_t)7;
    if (size > room)
        return 0;
    entry.d_reclen = (unsigned short)size;
    entry.d_type = from->is_directory ? DT_DIR : DT_REG;
    memcpy(entry.d_name, from->name, length);
    memcpy(buffer, &entry, size);
    return size;
}

long file_list(int directory, char *buffer, size_t size)
{
    struct file *file = &file_table[directory];
    struct files_list request = {.skipped = (uint32_t)file->listed};
    if (file->descriptor >= 0)
        return -ENOTDIR;
    strcpy(request.path, file->path);
    long count = file_ask(OP_LIST, &request, sizeof request);
    if (count > (long)(FILES_REGION / sizeof(struct files_entry)))
        return -EIO;
    size_t used = 0;
    for (long i = 0; i < count; i++) {
        const struct files_entry *entry = (const struct files_entry *)file_region.start + i;
        size_t added = put_entry(entry, file->listed + 1, buffer + used, size - used);
        if (!added)
            break;
        used += added;
        file->listed++;
    }
    return count < 0 ? count : used || !count ? (long)used : -EINVAL;
}
