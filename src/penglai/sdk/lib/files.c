/* File descriptors: 0 is at its end, 1 and 2 are the host's console, and there are no others. */
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include "runtime.h"

static long write_to(long descriptor, const struct iovec *pieces, long count)
{
    return descriptor == 1 || descriptor == 2 ? eapp_console_write(pieces, count) : -EBADF;
}

static long control(long request, struct winsize *size)
{
    if (request != TIOCGWINSZ)
        return -ENOTTY;
    *size = (struct winsize){.ws_row = 24, .ws_col = 80};
    return 0;
}

static long describe(struct stat *about)
{
    *about = (struct stat){.st_mode = S_IFCHR | 0620, .st_nlink = 1, .st_blksize = EAPP_PAGE_SIZE};
    return 0;
}

long eapp_file_call(long number, long a, long b, long c, long d)
{
    (void)d;
    int is_console = a >= 0 && a <= 2;
    switch (number) {
    case SYS_write:
        return write_to(a, &(struct iovec){(void *)b, (size_t)c}, 1);
    case SYS_writev:
        return write_to(a, (const struct iovec *)b, c);
    case SYS_read:
    case SYS_readv:
        return a ? -EBADF : 0;
    case SYS_ioctl:
        return is_console ? control(b, (struct winsize *)c) : -EBADF;
    case SYS_lseek:
        return is_console ? -ESPIPE : -EBADF;
    case SYS_close:
        return is_console ? 0 : -EBADF;
    case SYS_fstat:
        return is_console ? describe((struct stat *)b) : -EBADF;
    case SYS_openat:
    case SYS_newfstatat:
    case SYS_faccessat:
    case SYS_readlinkat:
    case SYS_unlinkat:
        return -ENOENT;
    default:
        return -ENOSYS;
    }
}
