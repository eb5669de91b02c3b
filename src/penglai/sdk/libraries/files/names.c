/* What is known of a path, and changes of names. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "client.h"

static long look_at_original(const char *path, struct files_about *about)
{
    long descriptor = file_send_open(OP_OPEN, path, O_RDONLY);
    if (descriptor < 0)
        return descriptor;
    struct files_seek request = {(int32_t)descriptor, 0, SEEK_END};
    long size = file_errno(file_ask(OP_SEEK, &request, sizeof request), EIO);
    file_send_close(descriptor);
    *about = (struct files_about){.size = (uint32_t)size};
    return size < 0 ? size : 0;
}

static long look_at_file(int file, struct files_about *about)
{
    if (file_table[file].descriptor < 0)
        return file_look_at(file_table[file].path, about);
    if (!file_server_knows_more)
        return look_at_original(file_table[file].path, about);
    struct files_stat request = {.descriptor = file_table[file].descriptor};
    long result = file_ask(OP_ABOUT, &request, sizeof request);
    if (!result)
        memcpy(about, file_region.start, sizeof *about);
    return result;
}

static long about_path(int directory, const char *path, struct stat *about)
{
    struct files_about found;
    char whole[FILES_PATH];
    long result = file_find_server();
    if (!result && !*path)
        result = directory < 0 ? -ENOENT : look_at_file(directory, &found);
    else if (!result && !(result = file_path(whole, directory, path)))
        result = file_server_knows_more ? file_look_at(whole, &found) : look_at_original(whole, &found);
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
    int result = file_path(whole, directory, path);
    return result ? result : file_errno(file_ask(OP_MKDIR, whole, sizeof whole), EEXIST);
}

static long remove_path(int directory, const char *path, int is_directory)
{
    struct files_remove request = {.is_directory = is_directory};
    int result = file_path(request.path, directory, path);
    if (!result)
        result = file_find_server();
    if (result)
        return result;
    return file_errno(file_ask(file_server_knows_more ? OP_REMOVE : OP_UNLINK, &request, sizeof request),
                      ENOENT);
}

static long rename_path(int directory, const char *path, int new_directory, const char *new_path)
{
    struct files_rename request;
    int result = file_path(request.from, directory, path);
    if (!result)
        result = file_path(request.to, new_directory, new_path);
    if (!result)
        result = file_find_server();
    if (result)
        return result;
    return file_server_knows_more ? file_ask(OP_RENAME, &request, sizeof request) : -ENOSYS;
}

static int flags_of(int file)
{
    return file_table[file].flags;
}

const struct eapp_files eapp_files = {
    .open = file_open,
    .close = file_close,
    .flags = flags_of,
    .read = file_read,
    .write = file_write,
    .seek = file_seek,
    .resize = file_resize,
    .list = file_list,
    .about = about_path,
    .make_directory = make_directory,
    .remove = remove_path,
    .rename = rename_path,
};
