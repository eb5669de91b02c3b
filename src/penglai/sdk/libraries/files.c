/*
 * -lfiles: the caller's side of the protocol of file servers.
 *
 * It answers system calls of the C library, so nothing here makes one.  Of what a server answers, everything is
 * checked that this program's memory depends on.
 */
#include "files.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "../lib/fileclient.h"
#include "../lib/fileserver.h"
#include "../lib/runtime.h"

#define NOBODY (-1UL)
#define BUSY (-2UL)
#define LARGE_REGION (15UL * EAPP_PAGE_SIZE)

static struct file {
    int is_open, flags, descriptor; /* -1: a directory */
    unsigned long listed;           /* entries of the directory */
    char path[FILES_PATH];
} files[EAPP_FILES];

static unsigned long server = NOBODY;
static int knows_more; /* than the original's */
static int is_chosen;  /* by its measurement */

static struct region {
    char *start;
    unsigned long size;
} small = {NULL, FILES_REGION}, large = {NULL, LARGE_REGION};

/* ---- calls ---- */

static int find_region(struct region *region)
{
    if (!region->start) {
        void *mapped = eapp_mmap(NULL, region->size);
        region->start = mapped == (void *)NOBODY ? NULL : mapped;
    }
    return region->start ? 0 : -ENOMEM;
}

static long call(enum files_operation operation, struct region *region)
{
    struct call_enclave_arg_t arg = {
        .req_arg = operation, .req_vaddr = (unsigned long)region->start, .req_size = region->size};
    unsigned long result;
    while ((result = call_enclave(server, &arg)) == BUSY)
        eapp_yield();
    if (result)
        return -EIO;
    region->start = (char *)arg.req_vaddr;
    if (!region->start)
        return -EIO;
    return (long)arg.resp_val < -4095 ? -EIO : (long)arg.resp_val;
}

static void greet(void)
{
    memset(small.start, 0, sizeof FILES_GREETING);
    call(OP_HELLO, &small);
    knows_more = small.start && !memcmp(small.start, FILES_GREETING, sizeof FILES_GREETING);
}

static int find_server(void)
{
    int result = find_region(&small);
    if (result || server != NOBODY)
        return result;
    if (!is_chosen)
        server = acquire_enclave(FILES_SERVER);
    if (server == NOBODY)
        return -ENOENT; /* as where there are no files */
    greet();
    return find_region(&small);
}

int eapp_use_files(const unsigned char measurement[32])
{
    is_chosen = 1;
    server = eapp_acquire_measured(FILES_SERVER, measurement);
    if (server == NOBODY || find_region(&small))
        return -1;
    greet();
    return 0;
}

/* The operation with this request in its region, and what comes back. */
static long ask(enum files_operation operation, const void *request, size_t size)
{
    int result = find_server();
    if (result)
        return result;
    memcpy(small.start, request, size);
    return call(operation, &small);
}

/* Servers of the original's say -1 for everything. */
static long as_errno(long result, int otherwise)
{
    return result == -1 && !knows_more ? -otherwise : result;
}

/* ---- paths ---- */

static int make_path(char path[FILES_PATH], int directory, const char *given)
{
    const char *start = *given == '/' || directory < 0 ? "" : files[directory].path;
    size_t before = strlen(start), size = strlen(given);
    if (!size)
        return -ENOENT;
    if (before + 1 + size >= FILES_PATH)
        return -ENAMETOOLONG;
    memcpy(path, start, before);
    path[before] = '/';
    memcpy(path + before + (*given != '/'), given, size + 1);
    return 0;
}

/* ---- files ---- */

static int unused(void)
{
    for (int file = 0; file < EAPP_FILES; file++)
        if (!files[file].is_open)
            return file;
    return -EMFILE;
}

static long look_at(const char *path, struct files_about *about)
{
    struct files_stat request = {.descriptor = -1};
    strcpy(request.path, path);
    long result = ask(OP_ABOUT, &request, sizeof request);
    if (!result)
        memcpy(about, small.start, sizeof *about);
    return result;
}

static long send_open(enum files_operation operation, const char *path, int flags)
{
    struct files_open request = {.flags = flags & (O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC | O_APPEND)};
    strcpy(request.path, path);
    return as_errno(ask(operation, &request, sizeof request), ENOENT);
}

static long send_close(long descriptor)
{
    int32_t request = (int32_t)descriptor;
    return ask(OP_CLOSE, &request, sizeof request);
}

/* By a server that knows neither O_EXCL nor O_TRUNC. */
static long open_by_original(const char *path, int flags)
{
    long descriptor;
    if (flags & O_CREAT && flags & O_EXCL && (descriptor = send_open(OP_OPEN, path, O_RDONLY)) >= 0) {
        send_close(descriptor);
        return -EEXIST;
    }
    descriptor = send_open(OP_OPEN, path, flags);
    if (descriptor >= 0 && flags & O_TRUNC && flags & O_ACCMODE) {
        int32_t request = (int32_t)descriptor;
        ask(OP_TRUNCATE, &request, sizeof request);
    }
    return descriptor;
}

static long open_by_server(const char *path, int flags, int *is_directory)
{
    struct files_about about = {0};
    *is_directory = 0;
    if (!knows_more)
        return flags & O_DIRECTORY ? -ENOTDIR : open_by_original(path, flags);
    if (!(flags & O_CREAT) || flags & O_DIRECTORY) {
        long result = look_at(path, &about);
        if (result)
            return result;
        if (flags & O_DIRECTORY && !about.is_directory)
            return -ENOTDIR;
    }
    if (!about.is_directory)
        return send_open(OP_OPEN_EXACTLY, path, flags);
    *is_directory = 1;
    return (flags & O_ACCMODE) == O_RDONLY ? 0 : -EISDIR;
}

static long open_file(int directory, const char *path, int flags)
{
    char whole[FILES_PATH];
    int is_directory, file = unused();
    int result = file < 0 ? file : make_path(whole, directory, path);
    if (!result)
        result = find_server();
    if (result)
        return result;
    long descriptor = open_by_server(whole, flags, &is_directory);
    if (descriptor < 0)
        return descriptor;
    files[file] =
        (struct file){1, flags & (O_ACCMODE | O_APPEND), is_directory ? -1 : (int)descriptor, 0, ""};
    strcpy(files[file].path, whole);
    return file;
}

static void close_file(int file)
{
    files[file].is_open = 0;
    if (files[file].descriptor >= 0)
        send_close(files[file].descriptor);
}

static int flags_of(int file)
{
    return files[file].flags;
}

/* ---- their content ---- */

/* How many bytes of a piece fit beside the head of the request, and the region for it. */
static struct region *region_for(size_t size)
{
    struct region *region = size + sizeof(struct files_transfer) > small.size ? &large : &small;
    return find_region(region) ? NULL : region;
}

static long transfer_piece(enum files_operation operation, int file, char *buffer, size_t size)
{
    struct region *region = region_for(size);
    if (!region)
        return -ENOMEM;
    size_t room = region->size - sizeof(struct files_transfer);
    struct files_transfer head = {files[file].descriptor, (int32_t)(size < room ? size : room)};
    memcpy(region->start, &head, sizeof head);
    if (operation == OP_WRITE)
        memcpy(region->start + sizeof head, buffer, (size_t)head.size);
    long done = as_errno(call(operation, region), EBADF);
    if (done > head.size)
        return -EIO;
    if (operation == OP_READ && done > 0)
        memcpy(buffer, region->start, (size_t)done);
    return done;
}

static long transfer(enum files_operation operation, int file, char *buffer, size_t size)
{
    size_t total = 0;
    if (files[file].descriptor < 0)
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

static long read_file(int file, void *buffer, size_t size)
{
    return transfer(OP_READ, file, buffer, size);
}

static long write_file(int file, void *buffer, size_t size)
{
    return transfer(OP_WRITE, file, buffer, size);
}

static long seek(int file, long offset, int whence)
{
    struct files_seek request = {files[file].descriptor, (int32_t)offset, whence};
    if (request.offset != offset)
        return -EINVAL;
    if (files[file].descriptor < 0) {
        files[file].listed = (unsigned long)offset;
        return offset;
    }
    return as_errno(ask(OP_SEEK, &request, sizeof request), EINVAL);
}

static long resize(int file, long size)
{
    struct files_transfer request = {files[file].descriptor, (int32_t)size};
    if (size < 0 || request.size != size || files[file].descriptor < 0)
        return -EINVAL;
    if (!knows_more && size)
        return -ENOSYS;
    return as_errno(ask(knows_more ? OP_RESIZE : OP_TRUNCATE, &request, sizeof request), EINVAL);
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

static long list(int directory, char *buffer, size_t size)
{
    struct file *file = &files[directory];
    struct files_list request = {.skipped = (uint32_t)file->listed};
    if (file->descriptor >= 0)
        return -ENOTDIR;
    strcpy(request.path, file->path);
    long count = ask(OP_LIST, &request, sizeof request);
    if (count > (long)(FILES_REGION / sizeof(struct files_entry)))
        return -EIO;
    size_t used = 0;
    for (long i = 0; i < count; i++) {
        const struct files_entry *entry = (const struct files_entry *)small.start + i;
        size_t added = put_entry(entry, file->listed + 1, buffer + used, size - used);
        if (!added)
            break;
        used += added;
        file->listed++;
    }
    return count < 0 ? count : used || !count ? (long)used : -EINVAL;
}

/* ---- what is known of a path ---- */

static long look_at_original(const char *path, struct files_about *about)
{
    long descriptor = send_open(OP_OPEN, path, O_RDONLY);
    if (descriptor < 0)
        return descriptor;
    struct files_seek request = {(int32_t)descriptor, 0, SEEK_END};
    long size = as_errno(ask(OP_SEEK, &request, sizeof request), EIO);
    send_close(descriptor);
    *about = (struct files_about){.size = (uint32_t)size};
    return size < 0 ? size : 0;
}

static long look_at_file(int file, struct files_about *about)
{
    if (files[file].descriptor < 0)
        return look_at(files[file].path, about);
    if (!knows_more)
        return look_at_original(files[file].path, about);
    struct files_stat request = {.descriptor = files[file].descriptor};
    long result = ask(OP_ABOUT, &request, sizeof request);
    if (!result)
        memcpy(about, small.start, sizeof *about);
    return result;
}

static long about_path(int directory, const char *path, struct stat *about)
{
    struct files_about found;
    char whole[FILES_PATH];
    long result = find_server();
    if (!result && !*path)
        result = directory < 0 ? -ENOENT : look_at_file(directory, &found);
    else if (!result && !(result = make_path(whole, directory, path)))
        result = knows_more ? look_at(whole, &found) : look_at_original(whole, &found);
    if (result)
        return result;
    *about = (struct stat){.st_mode = found.is_directory ? S_IFDIR | 0700 : S_IFREG | 0600,
                           .st_nlink = 1,
                           .st_size = found.size,
                           .st_blksize = EAPP_PAGE_SIZE,
                           .st_blocks = (found.size + 511) / 512};
    return 0;
}

/* ---- changes of names ---- */

static long make_directory(int directory, const char *path)
{
    char whole[FILES_PATH];
    int result = make_path(whole, directory, path);
    return result ? result : as_errno(ask(OP_MKDIR, whole, sizeof whole), EEXIST);
}

static long remove_path(int directory, const char *path, int is_directory)
{
    struct files_remove request = {.is_directory = is_directory};
    int result = make_path(request.path, directory, path);
    if (!result)
        result = find_server();
    if (result)
        return result;
    return as_errno(ask(knows_more ? OP_REMOVE : OP_UNLINK, &request, sizeof request), ENOENT);
}

static long rename_path(int directory, const char *path, int new_directory, const char *new_path)
{
    struct files_rename request;
    int result = make_path(request.from, directory, path);
    if (!result)
        result = make_path(request.to, new_directory, new_path);
    if (!result)
        result = find_server();
    if (result)
        return result;
    return knows_more ? ask(OP_RENAME, &request, sizeof request) : -ENOSYS;
}

const struct eapp_files eapp_files = {
    .open = open_file,
    .close = close_file,
    .flags = flags_of,
    .read = read_file,
    .write = write_file,
    .seek = seek,
    .resize = resize,
    .list = list,
    .about = about_path,
    .make_directory = make_directory,
    .remove = remove_path,
    .rename = rename_path,
};
