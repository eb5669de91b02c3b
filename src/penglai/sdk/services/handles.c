/*
 * Each handle knows path and offset of its file, from which it is opened again when the volume was mounted anew:
 * after a request that was cut off, since its caller was destroyed in the middle of it.
 */
#include "handles.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include "../lib/fileserver.h"
#include "volume.h"

#define HANDLES 128
#define MOST_OF_ONE 100 /* as many as Penglai-TVM's server has in all */

static struct handle {
    int is_open, is_lost; /* lost: its file is gone */
    unsigned long owner, used; /* used: when, by a count of uses */
    int flags;                 /* of littlefs */
    uint32_t offset;
    char path[FILES_PATH];
    lfs_file_t file;
    struct lfs_file_config config;
    uint8_t buffer[VOLUME_CACHE];
} handles[HANDLES];

static unsigned long uses;

/* What the request at work has changed of a handle, until it is committed. */
static struct handle *touched;
static struct {
    int is_open;
    uint32_t offset;
} untouched;

static void touch(struct handle *handle)
{
    touched = handle;
    untouched.is_open = handle->is_open;
    untouched.offset = handle->offset;
}

void handles_undo(void)
{
    if (!touched)
        return;
    touched->is_open = untouched.is_open;
    touched->offset = untouched.offset;
}

void handles_settle(void)
{
    touched = NULL;
}

static struct handle *find_any(unsigned long caller, int descriptor)
{
    unsigned long index = (unsigned long)descriptor - FILES_FIRST;
    return index < HANDLES && handles[index].is_open && handles[index].owner == caller ? &handles[index]
                                                                                       : NULL;
}

static struct handle *find(unsigned long caller, int descriptor)
{
    struct handle *handle = find_any(caller, descriptor);
    return handle && !handle->is_lost ? handle : NULL;
}

static int count_of(unsigned long owner)
{
    int count = 0;
    for (struct handle *each = handles; each < handles + HANDLES; each++)
        count += each->is_open && each->owner == owner;
    return count;
}

/* An enclave that was destroyed closes nothing.  So of who has the most, what was not used for the longest time goes
   to those who have less. */
static struct handle *take_from_others(int own)
{
    struct handle *found = NULL;
    int most = own + 1;
    for (struct handle *each = handles; each < handles + HANDLES; each++) {
        int count = count_of(each->owner);
        if (count < most || (count == most && found && each->used > found->used))
            continue;
        most = count;
        found = each;
    }
    if (found && !found->is_lost)
        lfs_file_close(&volume, &found->file);
    return found;
}

static struct handle *unused(unsigned long caller)
{
    int own = count_of(caller);
    if (own >= MOST_OF_ONE)
        return NULL;
    for (struct handle *each = handles; each < handles + HANDLES; each++)
        if (!each->is_open)
            return each;
    return take_from_others(own);
}

static int flags_of(int flags)
{
    int mode = (flags & O_ACCMODE) == O_RDONLY   ? LFS_O_RDONLY
               : (flags & O_ACCMODE) == O_WRONLY ? LFS_O_WRONLY
                                                 : LFS_O_RDWR;
    mode |= flags & O_CREAT ? LFS_O_CREAT : 0;
    mode |= flags & O_CREAT && flags & O_EXCL ? LFS_O_EXCL : 0;
    mode |= flags & O_TRUNC && mode & LFS_O_WRONLY ? LFS_O_TRUNC : 0;
    return mode | (flags & O_APPEND ? LFS_O_APPEND : 0);
}

static int open_file(struct handle *handle, int flags)
{
    handle->config = (struct lfs_file_config){.buffer = handle->buffer};
    return lfs_file_opencfg(&volume, &handle->file, handle->path, flags, &handle->config);
}

/* Opens it anew, where it was; what littlefs has of it is not whole, or no longer so. */
static void reopen(struct handle *handle)
{
    handle->is_lost = open_file(handle, handle->flags) ||
                      lfs_file_seek(&volume, &handle->file, (lfs_soff_t)handle->offset, LFS_SEEK_SET) < 0;
}

static void close_and_reopen(struct handle *handle)
{
    lfs_file_close(&volume, &handle->file);
    reopen(handle);
}

/* littlefs does not tell a handle what another one has done to its file. */
static void tell_others(const struct handle *handle)
{
    for (struct handle *each = handles; each < handles + HANDLES; each++)
        if (each != handle && each->is_open && !each->is_lost && !strcmp(each->path, handle->path))
            close_and_reopen(each);
}

/* Stores what was done to the file. */
static int sync_file(struct handle *handle)
{
    int result = lfs_file_sync(&volume, &handle->file);
    if (!result)
        tell_others(handle);
    return result;
}

int handle_open(unsigned long caller, const char *path, int flags)
{
    struct handle *handle = unused(caller);
    if (!handle)
        return -EMFILE;
    handle->is_open = 0;
    handle->used = ++uses;
    strcpy(handle->path, path);
    handle->owner = caller;
    handle->flags = flags_of(flags);
    int result = open_file(handle, handle->flags);
    if (!result && handle->flags & LFS_O_TRUNC && (result = sync_file(handle)))
        lfs_file_close(&volume, &handle->file);
    if (result)
        return result;
    touch(handle);
    handle->flags &= ~(LFS_O_CREAT | LFS_O_EXCL | LFS_O_TRUNC);
    handle->is_open = 1;
    handle->is_lost = 0;
    handle->offset = flags & O_APPEND ? (uint32_t)lfs_file_seek(&volume, &handle->file, 0, LFS_SEEK_END) : 0;
    return (int)(handle - handles) + FILES_FIRST;
}

int handle_close(unsigned long caller, int descriptor)
{
    struct handle *handle = find_any(caller, descriptor);
    if (!handle)
        return -EBADF;
    handle->is_open = 0;
    return handle->is_lost ? 0 : lfs_file_close(&volume, &handle->file);
}

/* The result of an operation on a file.  If it failed, file and offset are as before. */
static int finished(struct handle *handle, int result)
{
    if (result < 0) {
        close_and_reopen(handle);
        return result;
    }
    touch(handle);
    handle->offset = (uint32_t)lfs_file_tell(&volume, &handle->file);
    return result;
}

int handle_read(unsigned long caller, int descriptor, void *buffer, uint32_t size)
{
    struct handle *handle = find(caller, descriptor);
    if (!handle || !(handle->flags & LFS_O_RDONLY))
        return -EBADF;
    return finished(handle, lfs_file_read(&volume, &handle->file, buffer, size));
}

/* What is answered is stored, if the caller commits. */
int handle_write(unsigned long caller, int descriptor, const void *buffer, uint32_t size)
{
    struct handle *handle = find(caller, descriptor);
    if (!handle || !(handle->flags & LFS_O_WRONLY))
        return -EBADF;
    int done = lfs_file_write(&volume, &handle->file, buffer, size);
    int result = done < 0 ? done : sync_file(handle);
    return finished(handle, result ? result : done);
}

int handle_seek(unsigned long caller, int descriptor, int offset, int whence)
{
    struct handle *handle = find(caller, descriptor);
    if (!handle)
        return -EBADF;
    if (whence != LFS_SEEK_SET && whence != LFS_SEEK_CUR && whence != LFS_SEEK_END)
        return -EINVAL;
    return finished(handle, lfs_file_seek(&volume, &handle->file, offset, whence));
}

int handle_resize(unsigned long caller, int descriptor, uint32_t size)
{
    struct handle *handle = find(caller, descriptor);
    if (!handle || !(handle->flags & LFS_O_WRONLY))
        return -EBADF;
    int result = lfs_file_truncate(&volume, &handle->file, size);
    return finished(handle, result ? result : sync_file(handle));
}

int handle_size(unsigned long caller, int descriptor)
{
    struct handle *handle = find(caller, descriptor);
    return handle ? lfs_file_size(&volume, &handle->file) : -EBADF;
}

/* It keeps its place in the table until it is closed, and no other file gets into its hands. */
static void lose(struct handle *handle)
{
    handle->is_lost = 1;
    lfs_file_close(&volume, &handle->file);
}

void handles_lost(const char *path)
{
    for (struct handle *each = handles; each < handles + HANDLES; each++)
        if (each->is_open && !each->is_lost && !strcmp(each->path, path))
            lose(each);
}

void handles_renamed(const char *from, const char *to)
{
    size_t length = strlen(from);
    char path[2 * FILES_PATH];
    for (struct handle *each = handles; each < handles + HANDLES; each++) {
        const char *rest = each->path + length;
        if (!each->is_open || each->is_lost || strncmp(each->path, from, length) || (*rest && *rest != '/'))
            continue;
        strcpy(path, to);
        strcat(path, rest);
        if (strlen(path) >= FILES_PATH) {
            lose(each);
        } else {
            strcpy(each->path, path);
            close_and_reopen(each); /* littlefs takes it for removed */
        }
    }
}

void handles_reopen(void)
{
    for (struct handle *each = handles; each < handles + HANDLES; each++)
        if (each->is_open && !each->is_lost)
            reopen(each);
}
