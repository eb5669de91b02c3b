/*
 * Protected directories: what lies below their mount points is kept by the file server, another enclave, which seals
 * it on a disk of the host's.  It is acquired by its measurement, which is part of this image: no other server is
 * ever asked.
 *
 * mounts.c asks here as it asks the host, with paths from the mount point on.  One file stays open at the server
 * while it is read or written piece by piece.
 */
#include <fcntl.h>
#include "../lib/fileserver.h"
#include "linux.h"

#define ACQUIRE_MEASURED 4
#define CALL_SERVER 96
#define SECOND 1024UL
#define PIECE (PAGE - SECOND)
#define BUSY (-2L)
#define NOBODY (-1L)
#define DONE 1
#define FILE_KIND 1
#define DIRECTORY_KIND 2
#define DOTS 2 /* entries that the server lists, and nobody here wants */

/* As the monitor knows it. */
struct server_call {
    word request, result, pages, size, more_pages, more_size;
};

static const unsigned char *measurement;
static long server = NOBODY;
static char *region;
static struct {
    char path[FILES_PATH]; /* empty: none is open */
    int32_t descriptor;
    word offset;
} open_file;

void protected_begin(const struct linux_image *image)
{
    measurement = image->file_server;
}

static long find_server(void)
{
    if (!region && !(region = (char *)memory_take(PAGE)))
        return -ENOMEM;
    if (server == NOBODY)
        server = monitor_call(ACQUIRE_MEASURED, (word)FILES_SERVER, (word)measurement, 0);
    return server == NOBODY ? -EIO : 0;
}

/* What is asked is in the region, and so is the answer.  0 or more, or an error. */
static long call(enum files_operation operation)
{
    long result;
    struct server_call what;
    do {
        what = (struct server_call){.request = operation, .pages = (word)region, .size = PAGE};
        result = monitor_call(CALL_SERVER, (word)server, (word)&what, 0);
        if (result == BUSY)
            monitor_yield();
    } while (result == BUSY);
    region = (char *)what.pages; /* a server may keep them */
    if (result || !region) {
        server = result ? NOBODY : server;
        return -EIO;
    }
    return (long)what.result < -LAST_ERROR ? -EIO : (long)what.result;
}

static long ask(enum files_operation operation, const void *request, size_t size)
{
    long error = find_server();
    if (error)
        return error;
    memcpy(region, request, size);
    return call(operation);
}

static long done(long result)
{
    return result < 0 ? result : DONE;
}

/* ---- the file that is open ---- */

static void close_file(void)
{
    if (*open_file.path)
        ask(OP_CLOSE, &open_file.descriptor, sizeof open_file.descriptor);
    *open_file.path = 0;
}

static long open_path(const char *path, int flags)
{
    struct files_open request = {.flags = flags};
    memcpy(request.path, path, strlen(path) + 1);
    return ask(OP_OPEN_EXACTLY, &request, sizeof request);
}

/* Opens it, unless it is open already. */
static long use_file(const char *path)
{
    size_t size = strlen(path) + 1;
    if (!memcmp(open_file.path, path, size))
        return 0;
    close_file();
    long descriptor = open_path(path, O_RDWR);
    if (descriptor < 0)
        return descriptor;
    memcpy(open_file.path, path, size);
    open_file.descriptor = (int32_t)descriptor;
    open_file.offset = 0;
    return 0;
}

static long use_file_at(const char *path, word offset)
{
    long error = use_file(path);
    if (error || open_file.offset == offset)
        return error;
    struct files_seek request = {open_file.descriptor, (int32_t)offset, 0};
    if (offset >= FILE_BYTES)
        return -EFBIG;
    long at = ask(OP_SEEK, &request, sizeof request);
    open_file.offset = at == (long)offset ? offset : NEVER;
    return at < 0 ? at : at == (long)offset ? 0 : -EIO;
}

static long get(const char *path, word offset, char *out)
{
    long error = use_file_at(path, offset);
    if (error)
        return error;
    struct files_transfer request = {open_file.descriptor, (int32_t)PAGE};
    long got = ask(OP_READ, &request, sizeof request);
    if (got > (long)PAGE)
        return -EIO;
    if (got <= 0) {
        close_file();
        return got;
    }
    memcpy(out, region, (size_t)got);
    open_file.offset += (word)got;
    return got;
}

static long put(const char *path, word offset, const char *from, word size)
{
    long error = size > PIECE ? -EINVAL : use_file_at(path, offset);
    if (!error)
        error = find_server();
    if (error)
        return error;
    struct files_transfer head = {open_file.descriptor, (int32_t)size};
    memcpy(region, &head, sizeof head);
    memcpy(region + sizeof head, from, size);
    long written = call(OP_WRITE);
    if (written != (long)size) {
        open_file.offset = NEVER;
        return written < 0 ? written : -EIO;
    }
    open_file.offset += size;
    return DONE;
}

static long resize(const char *path, word size)
{
    long error = size >= FILE_BYTES ? -EFBIG : use_file(path);
    struct files_transfer request = {open_file.descriptor, (int32_t)size};
    return error ? error : done(ask(OP_RESIZE, &request, sizeof request));
}

/* ---- names ---- */

static long about(const char *path, char *out)
{
    struct files_stat request = {.descriptor = -1};
    struct files_about found;
    memcpy(request.path, path, strlen(path) + 1);
    long error = ask(OP_ABOUT, &request, sizeof request);
    if (error)
        return error < 0 ? error : -EIO;
    memcpy(&found, region, sizeof found);
    word answer[4] = {found.is_directory ? DIRECTORY_KIND : FILE_KIND, found.size, 0, 0};
    memcpy(out, answer, sizeof answer);
    return DONE;
}

static long list(const char *path, word first, char *out)
{
    struct files_list request = {.skipped = (uint32_t)first + DOTS};
    struct files_entry entry;
    size_t used = 0;
    memcpy(request.path, path, strlen(path) + 1);
    long count = ask(OP_LIST, &request, sizeof request);
    if (count > (long)(PAGE / sizeof entry))
        return -EIO;
    for (long i = 0; i < count; i++) {
        memcpy(&entry, (struct files_entry *)region + i, sizeof entry);
        entry.name[sizeof entry.name - 1] = 0;
        size_t size = strlen(entry.name) + 1;
        memcpy(out + used, entry.name, size);
        used += size;
    }
    return count;
}

static long make(const char *path, int is_directory)
{
    if (is_directory) {
        char name[FILES_PATH] = "";
        memcpy(name, path, strlen(path) + 1);
        return done(ask(OP_MKDIR, name, sizeof name));
    }
    int32_t descriptor = (int32_t)open_path(path, O_WRONLY | O_CREAT | O_EXCL);
    return descriptor < 0 ? descriptor : done(ask(OP_CLOSE, &descriptor, sizeof descriptor));
}

static long remove_path(const char *path, int is_directory)
{
    struct files_remove request = {.is_directory = is_directory};
    memcpy(request.path, path, strlen(path) + 1);
    return done(ask(OP_REMOVE, &request, sizeof request));
}

static long rename_path(const char *path, const char *to)
{
    struct files_rename request = {0};
    if (strlen(to) >= FILES_PATH)
        return -ENAMETOOLONG;
    memcpy(request.from, path, strlen(path) + 1);
    memcpy(request.to, to, strlen(to) + 1);
    return done(ask(OP_RENAME, &request, sizeof request));
}

long protected_ask(word question, word argument, char exchange[PAGE])
{
    char path[FILES_PATH];
    size_t size = strlen(exchange) + 1;
    if (size > sizeof path)
        return -ENAMETOOLONG;
    memcpy(path, size > 1 ? exchange : "/", size > 1 ? size : 2);
    if (question != ASK_GET && question != ASK_PUT && question != ASK_RESIZE)
        close_file();
    switch (question) {
    case ASK_STAT:
        return about(path, exchange);
    case ASK_LIST:
        return list(path, argument, exchange);
    case ASK_GET:
        return get(path, argument, exchange);
    case ASK_PUT:
        return put(path, argument & 0xffffffff, exchange + SECOND, argument >> 32);
    case ASK_MAKE:
        return make(path, argument == 1);
    case ASK_RESIZE:
        return resize(path, argument);
    case ASK_REMOVE:
        return remove_path(path, argument == 1);
    case ASK_RENAME:
        return rename_path(path, exchange + SECOND);
    default:
        return -EINVAL;
    }
}
