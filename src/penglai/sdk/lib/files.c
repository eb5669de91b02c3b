/*
 * File descriptors.  0 is at its end, 1 and 2 are the host's console, and there are no files: what can be
 * opened are devices that Linux has everywhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include "runtime.h"

#define DESCRIPTORS 64

enum device { NONE, EMPTY, CONSOLE, NOTHING, ZEROS, RANDOM };

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

static long open_path(const char *path)
{
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        if (!strcmp(path, devices[i].path))
            return new_descriptor(devices[i].device, 0);
    return -ENOENT;
}

static long write_to(enum device device, const struct iovec *pieces, long count)
{
    if (device == NONE || device == EMPTY)
        return -EBADF;
    if (device == CONSOLE)
        return eapp_console_write(pieces, count);
    long size = 0;
    for (long i = 0; i < count; i++)
        size += (long)pieces[i].iov_len;
    return size;
}

static long read_from(enum device device, const struct iovec *pieces, long count)
{
    if (device == NONE || device == CONSOLE)
        return -EBADF;
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

static long describe(struct stat *about)
{
    *about = (struct stat){.st_mode = S_IFCHR | 0620, .st_nlink = 1, .st_blksize = EAPP_PAGE_SIZE};
    return 0;
}

static long duplicate(enum device device, long target)
{
    if (target < 0 || target >= DESCRIPTORS)
        return -EBADF;
    descriptors[target] = (unsigned char)device;
    return target;
}

static long change(enum device device, long command, long argument)
{
    switch (command) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
        return new_descriptor(device, argument);
    case F_GETFL:
        return O_RDWR | O_LARGEFILE;
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
    descriptors[descriptor] = NONE;
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

static long call_by_path(long number, const char *path)
{
    switch (number) {
    case SYS_openat:
        return open_path(path);
    case SYS_chdir:
        return strcmp(path, "/") ? -ENOENT : 0;
    case SYS_mkdirat:
        return -EROFS;
    default:
        return -ENOENT;
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
        return device == EMPTY || device == CONSOLE ? -ESPIPE : 0;
    case SYS_close:
        return close_one(a);
    case SYS_fstat:
        return describe((struct stat *)b);
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
    (void)d;
    struct iovec piece = {(void *)b, (size_t)c};
    switch (number) {
    case SYS_chdir:
        return call_by_path(number, (const char *)a);
    case SYS_openat:
    case SYS_mkdirat:
    case SYS_newfstatat:
    case SYS_faccessat:
    case SYS_readlinkat:
    case SYS_unlinkat:
    case SYS_renameat2:
        return call_by_path(number, (const char *)b);
    case SYS_write:
        return write_to(device_of(a), &piece, 1);
    case SYS_writev:
        return write_to(device_of(a), (const struct iovec *)b, c);
    case SYS_read:
        return read_from(device_of(a), &piece, 1);
    case SYS_readv:
        return read_from(device_of(a), (const struct iovec *)b, c);
    case SYS_ioctl:
    case SYS_lseek:
    case SYS_close:
    case SYS_fstat:
    case SYS_dup:
    case SYS_dup3:
    case SYS_fcntl:
        return call_on_device(number, device_of(a), a, b, c);
    default:
        return -ENOSYS;
    }
}
