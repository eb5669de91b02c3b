/*
 * File descriptors.  0 is at its end, 1 and 2 are the host's console.  What can be opened are devices that Linux has
 * everywhere, and files, if the program is linked with -lfiles.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include "fileclient.h"
#include "runtime.h"

#define DESCRIPTORS 64

enum device { NONE, EMPTY, CONSOLE, NOTHING, ZEROS, RANDOM, FIRST_FILE }; /* and the files, by number */

static unsigned char descriptors[DESCRIPTORS] = {EMPTY, CONSOLE, CONSOLE}; /* what each is */

static const struct {
    const char *path;
    enum device device;
} devices[] = {
    {"/dev/null", NOTHING},
    {"/dev/zero", ZEROS},
#ifndef EAPP_PORTABLE /* which has no random numbers */
    {"/dev/random", RANDOM},
    {"/dev/urandom", RANDOM},
#endif
};

static enum device device_of(long descriptor)
{
    return descriptor >= 0 && descriptor < DESCRIPTORS ? (enum device)descriptors[descriptor] : NONE;
}

static long new_descriptor(enum device device, long from)
{
    if (from < 0 || from >= DESCRIPTORS)
        return -EINVAL;
    for (; from < DESCRIPTORS; from++)
        if (!descriptors[from]) {
            descriptors[from] = (unsigned char)device;
            return from;
        }
    return -EMFILE;
}

/* The number of a file; -1 for what is none. */
static int file_of(enum device device)
{
    return device >= FIRST_FILE ? (int)device - FIRST_FILE : -1;
}

static int has_files(void)
{
    return &eapp_files != NULL;
}

static void close_file_without_descriptor(enum device device)
{
    if (device >= FIRST_FILE && !memchr(descriptors, (int)device, sizeof descriptors))
        eapp_files.close(file_of(device));
}

static long open_file(int directory, const char *path, int flags)
{
    long file = eapp_files.open(directory, path, flags);
    if (file < 0)
        return file;
    enum device device = FIRST_FILE + (enum device)file;
    long descriptor = new_descriptor(device, 0);
    close_file_without_descriptor(device);
    return descriptor;
}

static long open_path(int directory, const char *path, int flags)
{
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        if (!strcmp(path, devices[i].path))
            return new_descriptor(devices[i].device, 0);
    return has_files() ? open_file(directory, path, flags) : -ENOENT;
}

typedef long transfer(int file, void *buffer, size_t size);

/* As many bytes as can be moved; an error only if there are none. */
static long move(transfer *piece, enum device device, const struct iovec *pieces, long count)
{
    long total = 0;
    for (long i = 0; i < count; i++) {
        long done = piece(file_of(device), pieces[i].iov_base, pieces[i].iov_len);
        if (done < 0)
            return total ? total : done;
        total += done;
        if ((size_t)done < pieces[i].iov_len)
            break;
    }
    return total;
}

/* Moves them elsewhere, and goes back to where the file was. */
static long move_at(long number, enum device device, const struct iovec *where, long offset)
{
    transfer *piece = number == SYS_pread64 ? eapp_files.read : eapp_files.write;
    if (device < FIRST_FILE)
        return device == NONE ? -EBADF : -ESPIPE;
    long before = eapp_files.seek(file_of(device), 0, SEEK_CUR);
    long result = before < 0 ? before : eapp_files.seek(file_of(device), offset, SEEK_SET);
    if (result >= 0)
        result = move(piece, device, where, 1);
    if (before >= 0)
        eapp_files.seek(file_of(device), before, SEEK_SET);
    return result;
}

static long write_to(enum device device, const struct iovec *pieces, long count)
{
    if (device == NONE || device == EMPTY)
        return -EBADF;
    if (device == CONSOLE)
        return eapp_console_write(pieces, count);
    if (device >= FIRST_FILE)
        return move(eapp_files.write, device, pieces, count);
    long size = 0;
    for (long i = 0; i < count; i++)
        size += (long)pieces[i].iov_len;
    return size;
}

static long read_from(enum device device, const struct iovec *pieces, long count)
{
    if (device == NONE || device == CONSOLE)
        return -EBADF;
    if (device >= FIRST_FILE)
        return move(eapp_files.read, device, pieces, count);
    if (device != ZEROS && device != RANDOM)
        return 0;
    long size = 0;
    for (long i = 0; i < count; i++) {
        if (device == ZEROS)
            memset(pieces[i].iov_base, 0, pieces[i].iov_len);
        else if (eapp_get_random(pieces[i].iov_base, pieces[i].iov_len) < 0)
            return -EFAULT;
        size += (long)pieces[i].iov_len;
    }
    return size;
}

static long control(enum device device, long request, struct winsize *size)
{
    if ((device != EMPTY && device != CONSOLE) || request != TIOCGWINSZ)
        return -ENOTTY;
    *size = (struct winsize){.ws_row = 24, .ws_col = 80};
    return 0;
}

static long describe(enum device device, struct stat *about)
{
    if (device >= FIRST_FILE)
        return eapp_files.about(file_of(device), "", about);
    *about = (struct stat){.st_mode = S_IFCHR | 0620, .st_nlink = 1, .st_blksize = EAPP_PAGE_SIZE};
    return 0;
}

static long duplicate(enum device device, long target)
{
    if (target < 0 || target >= DESCRIPTORS)
        return -EBADF;
    enum device before = (enum device)descriptors[target];
    descriptors[target] = (unsigned char)device;
    close_file_without_descriptor(before);
    return target;
}

static long change(enum device device, long command, long argument)
{
    switch (command) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
        return new_descriptor(device, argument);
    case F_GETFL:
        return (device >= FIRST_FILE ? eapp_files.flags(file_of(device)) : O_RDWR) | O_LARGEFILE;
    case F_GETFD:
    case F_SETFD:
    case F_SETFL:
        return 0;
    default:
        return -EINVAL;
    }
}

static long close_one(long descriptor)
{
    enum device device = (enum device)descriptors[descriptor];
    descriptors[descriptor] = NONE;
    close_file_without_descriptor(device);
    return 0;
}

int eapp_readiness(long descriptor)
{
    enum device device = device_of(descriptor);
    return device == NONE      ? POLLNVAL
           : device == EMPTY   ? POLLIN
           : device == CONSOLE ? POLLOUT
                               : POLLIN | POLLOUT;
}

static long seek(enum device device, long offset, int whence)
{
    if (device >= FIRST_FILE)
        return eapp_files.seek(file_of(device), offset, whence);
    return device == EMPTY || device == CONSOLE ? -ESPIPE : 0;
}

/* There are no files. */
static long answer_for_nothing(long number, const char *path)
{
    switch (number) {
    case SYS_chdir:
        return strcmp(path, "/") ? -ENOENT : 0;
    case SYS_mkdirat:
        return -EROFS;
    default:
        return -ENOENT;
    }
}

/* Paths are below a directory that is open, if they are relative; there is no other directory to be in than "/". */
static long call_by_path(long number, long a, const char *path, long c, long d)
{
    int directory = file_of(device_of(a));
    if (number == SYS_openat)
        return open_path(directory, path, (int)c);
    if (!has_files())
        return answer_for_nothing(number, path);
    switch (number) {
    case SYS_newfstatat:
        return eapp_files.about(directory, path, (struct stat *)c);
    case SYS_faccessat: {
        struct stat ignored;
        return eapp_files.about(directory, path, &ignored);
    }
    case SYS_mkdirat:
        return eapp_files.make_directory(directory, path);
    case SYS_unlinkat:
        return eapp_files.remove(directory, path, c == AT_REMOVEDIR);
    case SYS_renameat2:
        return eapp_files.rename(directory, path, file_of(device_of(c)), (const char *)d);
    case SYS_readlinkat:
        return -EINVAL; /* no link is symbolic */
    default:
        return answer_for_nothing(number, path);
    }
}

static long call_on_file(long number, int file, long b, long c)
{
    if (file < 0)
        return number == SYS_getdents64 ? -ENOTDIR : number == SYS_ftruncate ? -EINVAL : 0;
    switch (number) {
    case SYS_ftruncate:
        return eapp_files.resize(file, b);
    case SYS_getdents64:
        return eapp_files.list(file, (char *)b, (size_t)c);
    default: /* fsync: what was written is stored */
        return 0;
    }
}

static long call_on_device(long number, enum device device, long a, long b, long c)
{
    if (device == NONE)
        return -EBADF;
    switch (number) {
    case SYS_ioctl:
        return control(device, b, (struct winsize *)c);
    case SYS_lseek:
        return seek(device, b, (int)c);
    case SYS_ftruncate:
    case SYS_getdents64:
    case SYS_fsync:
    case SYS_fdatasync:
        return call_on_file(number, file_of(device), b, c);
    case SYS_close:
        return close_one(a);
    case SYS_fstat:
        return describe(device, (struct stat *)b);
    case SYS_dup:
        return new_descriptor(device, 0);
    case SYS_dup3:
        return a == b ? -EINVAL : duplicate(device, b);
    default: /* fcntl */
        return change(device, b, c);
    }
}

long eapp_file_call(long number, long a, long b, long c, long d)
{
    struct iovec piece = {(void *)b, (size_t)c};
    switch (number) {
    case SYS_chdir:
        return call_by_path(number, AT_FDCWD, (const char *)a, 0, 0);
    case SYS_openat:
    case SYS_mkdirat:
    case SYS_newfstatat:
    case SYS_faccessat:
    case SYS_readlinkat:
    case SYS_unlinkat:
    case SYS_renameat2:
        return call_by_path(number, a, (const char *)b, c, d);
    case SYS_write:
        return write_to(device_of(a), &piece, 1);
    case SYS_writev:
        return write_to(device_of(a), (const struct iovec *)b, c);
    case SYS_read:
        return read_from(device_of(a), &piece, 1);
    case SYS_readv:
        return read_from(device_of(a), (const struct iovec *)b, c);
    case SYS_pread64:
    case SYS_pwrite64:
        return has_files() ? move_at(number, device_of(a), &piece, d) : -ESPIPE;
    case SYS_ioctl:
    case SYS_lseek:
    case SYS_close:
    case SYS_fstat:
    case SYS_dup:
    case SYS_dup3:
    case SYS_fcntl:
    case SYS_ftruncate:
    case SYS_getdents64:
    case SYS_fsync:
    case SYS_fdatasync:
        return call_on_device(number, device_of(a), a, b, c);
    default:
        return -ENOSYS;
    }
}
