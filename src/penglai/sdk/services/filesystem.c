/*
 * The file server "filesystem": files of other enclaves on a disk that the host keeps and cannot read.
 *
 * What is answered is on the disk.  Regions are their callers': nothing in them is looked at twice.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include "../lib/fileserver.h"
#include "eapp.h"
#include "handles.h"
#include "paths.h"
#include "volume.h"

struct request {
    unsigned long operation, caller, size;
    char *region;
};

/* ---- files ---- */

static int open_path(const struct request *request, int ignored)
{
    struct files_open open;
    memcpy(&open, request->region, sizeof open);
    int result = path_take(open.path, open.path);
    return result ? result : handle_open(request->caller, open.path, open.flags & ~ignored);
}

static int transfer(const struct request *request)
{
    struct files_transfer head;
    memcpy(&head, request->region, sizeof head);
    int writes = request->operation == OP_WRITE;
    unsigned long room = request->size - (writes ? sizeof head : 0);
    if (head.size < 0 || (unsigned long)head.size > room)
        return -EINVAL;
    char *data = request->region + (writes ? sizeof head : 0);
    return writes ? handle_write(request->caller, head.descriptor, data, (uint32_t)head.size)
                  : handle_read(request->caller, head.descriptor, data, (uint32_t)head.size);
}

static int seek(const struct request *request)
{
    struct files_seek seek;
    memcpy(&seek, request->region, sizeof seek);
    return handle_seek(request->caller, seek.descriptor, seek.offset, seek.whence);
}

static int find(const struct request *request, struct files_about *about)
{
    struct files_stat stat;
    struct lfs_info info;
    memcpy(&stat, request->region, sizeof stat);
    if (stat.descriptor != -1) {
        int size = handle_size(request->caller, stat.descriptor);
        *about = (struct files_about){.size = size < 0 ? 0 : (uint32_t)size};
        return size < 0 ? size : 0;
    }
    int result = path_take(stat.path, stat.path);
    if (!result && !(result = lfs_stat(&volume, stat.path, &info)))
        *about = (struct files_about){.is_directory = info.type == LFS_TYPE_DIR, .size = info.size};
    return result;
}

static int describe(const struct request *request)
{
    struct files_about about;
    int result = find(request, &about);
    if (!result)
        memcpy(request->region, &about, sizeof about);
    return result;
}

static int size_of(const struct request *request)
{
    struct files_about about;
    return find(request, &about) || about.is_directory ? 0 : (int)about.size;
}

static int resize(const struct request *request)
{
    struct files_transfer head;
    memcpy(&head, request->region, sizeof head);
    return handle_resize(request->caller, head.descriptor,
                         request->operation == OP_RESIZE ? (uint32_t)head.size : 0);
}

/* ---- paths ---- */

static int make_directory(const struct request *request)
{
    char path[FILES_PATH];
    int result = path_take(path, request->region);
    return result ? result : lfs_mkdir(&volume, path);
}

static int remove_any(const char *path)
{
    int result = lfs_remove(&volume, path);
    if (!result)
        handles_lost(path);
    return result;
}

static int unlink_path(const struct request *request)
{
    char path[FILES_PATH];
    int result = path_take(path, request->region);
    return result ? result : remove_any(path);
}

static int remove_path(const struct request *request)
{
    struct files_remove what;
    struct lfs_info info;
    memcpy(&what, request->region, sizeof what);
    int result = path_take(what.path, what.path);
    if (result || (result = lfs_stat(&volume, what.path, &info)))
        return result;
    int is_directory = info.type == LFS_TYPE_DIR;
    if (is_directory != (what.is_directory != 0))
        return is_directory ? -EISDIR : -ENOTDIR;
    return remove_any(what.path);
}

static int rename_path(const struct request *request)
{
    struct files_rename names;
    memcpy(&names, request->region, sizeof names);
    int result = path_take(names.from, names.from);
    if (!result)
        result = path_take(names.to, names.to);
    if (!result && !strcmp(names.from, names.to))
        return lfs_stat(&volume, names.from, &(struct lfs_info){0});
    if (result || (result = lfs_rename(&volume, names.from, names.to)))
        return result;
    handles_lost(names.to);
    handles_renamed(names.from, names.to);
    return 0;
}

static int list_entries(lfs_dir_t *directory, uint32_t skipped, struct files_entry *entries, size_t room)
{
    struct lfs_info info;
    int result;
    for (uint32_t i = 0; i < skipped; i++)
        if ((result = lfs_dir_read(&volume, directory, &info)) <= 0)
            return result;
    size_t count = 0;
    while (count < room && (result = lfs_dir_read(&volume, directory, &info)) > 0) {
        struct files_entry entry = {.is_directory = info.type == LFS_TYPE_DIR};
        strncpy(entry.name, info.name, sizeof entry.name - 1);
        entries[count++] = entry;
    }
    return result < 0 ? result : (int)count;
}

static int list(const struct request *request)
{
    struct files_list which;
    lfs_dir_t directory;
    memcpy(&which, request->region, sizeof which);
    int result = path_take(which.path, which.path);
    if (result || (result = lfs_dir_open(&volume, &directory, which.path)))
        return result;
    result = list_entries(&directory, which.skipped, (struct files_entry *)request->region,
                          FILES_REGION / sizeof(struct files_entry));
    lfs_dir_close(&volume, &directory);
    return result;
}

static int greet(const struct request *request)
{
    memcpy(request->region, FILES_GREETING, sizeof FILES_GREETING);
    return 0;
}

/* ---- requests ---- */

static int serve(const struct request *request)
{
    switch (request->operation) {
    case OP_OPEN:
        return open_path(request, O_EXCL | O_TRUNC);
    case OP_OPEN_EXACTLY:
        return open_path(request, 0);
    case OP_CLOSE:
        return handle_close(request->caller, *(int32_t *)request->region);
    case OP_READ:
    case OP_WRITE:
        return transfer(request);
    case OP_STAT:
        return size_of(request);
    case OP_ABOUT:
        return describe(request);
    case OP_SEEK:
        return seek(request);
    case OP_FLUSH:
        return 0;
    case OP_TRUNCATE:
    case OP_RESIZE:
        return resize(request);
    case OP_UNLINK:
        return unlink_path(request);
    case OP_REMOVE:
        return remove_path(request);
    case OP_MKDIR:
        return make_directory(request);
    case OP_RENAME:
        return rename_path(request);
    case OP_LIST:
        return list(request);
    case OP_HELLO:
        return greet(request);
    default:
        return -ENOSYS;
    }
}

/* One request is one commit.  Of what failed on its way to the disk, nothing is kept. */
static int serve_whole(const struct request *request)
{
    int fresh;
    int result = volume_ready(&fresh);
    if (result)
        return result;
    if (fresh)
        handles_reopen();
    handles_settle();
    result = serve(request);
    if (result != -EIO && !volume_commit())
        return result;
    handles_undo();
    volume_forget();
    return -EIO;
}

int EAPP_ENTRY main(void)
{
    static int is_at_work; /* still, if the last caller was destroyed while it waited */
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct request request = {args[10], get_caller_id(), args[12], (char *)args[11]};
    if (is_at_work)
        volume_forget();
    is_at_work = 1;
    int result = request.size < FILES_REGION ? -EINVAL : serve_whole(&request);
    is_at_work = 0;
    struct call_enclave_arg_t answer = {.resp_val = (unsigned long)result};
    SERVER_RETURN(&answer);
}
