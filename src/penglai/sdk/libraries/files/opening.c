#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include "client.h"

struct file file_table[EAPP_FILES];

int file_path(char path[FILES_PATH], int directory, const char *given)
{
    const char *start = *given == '/' || directory < 0 ? "" : file_table[directory].path;
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
        if (!file_table[file].is_open)
            return file;
    return -EMFILE;
}

long file_look_at(const char *path, struct files_about *about)
{
    struct files_stat request = {.descriptor = -1};
    strcpy(request.path, path);
    long result = file_ask(OP_ABOUT, &request, sizeof request);
    if (!result)
        memcpy(about, file_region.start, sizeof *about);
    return result;
}

long file_send_open(enum files_operation operation, const char *path, int flags)
{
    struct files_open request = {.flags = flags & (O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC | O_APPEND)};
    strcpy(request.path, path);
    return file_errno(file_ask(operation, &request, sizeof request), ENOENT);
}

long file_send_close(long descriptor)
{
    int32_t request = (int32_t)descriptor;
    return file_ask(OP_CLOSE, &request, sizeof request);
}

/* By a server that knows neither O_EXCL nor O_TRUNC. */
static long open_by_original(const char *path, int flags)
{
    long descriptor;
    if (flags & O_CREAT && flags & O_EXCL && (descriptor = file_send_open(OP_OPEN, path, O_RDONLY)) >= 0) {
        file_send_close(descriptor);
        return -EEXIST;
    }
    descriptor = file_send_open(OP_OPEN, path, flags);
    if (descriptor >= 0 && flags & O_TRUNC && flags & O_ACCMODE) {
        int32_t request = (int32_t)descriptor;
        file_ask(OP_TRUNCATE, &request, sizeof request);
    }
    return descriptor;
}

static long open_by_server(const char *path, int flags, int *is_directory)
{
    struct files_about about = {0};
    *is_directory = 0;
    if (!file_server_knows_more)
        return flags & O_DIRECTORY ? -ENOTDIR : open_by_original(path, flags);
    if (!(flags & O_CREAT) || flags & O_DIRECTORY) {
        long result = file_look_at(path, &about);
        if (result)
            return result;
        if (flags & O_DIRECTORY && !about.is_directory)
            return -ENOTDIR;
    }
    if (!about.is_directory)
        return file_send_open(OP_OPEN_EXACTLY, path, flags);
    *is_directory = 1;
    return (flags & O_ACCMODE) == O_RDONLY ? 0 : -EISDIR;
}

long file_open(int directory, const char *path, int flags)
{
    char whole[FILES_PATH];
    int is_directory, file = unused();
    int result = file < 0 ? file : file_path(whole, directory, path);
    if (!result)
        result = file_find_server();
    if (result)
        return result;
    long descriptor = open_by_server(whole, flags, &is_directory);
    if (descriptor < 0)
        return descriptor;
    file_table[file] =
        (struct file){1, flags & (O_ACCMODE | O_APPEND), is_directory ? -1 : (int)descriptor, 0, ""};
    strcpy(file_table[file].path, whole);
    return file;
}

void file_close(int file)
{
    file_table[file].is_open = 0;
    if (file_table[file].descriptor >= 0)
        file_send_close(file_table[file].descriptor);
}
