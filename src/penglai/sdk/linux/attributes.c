/* What a file is, beside its content: kind, rights, times; and the file system. */
#include <fcntl.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "linux.h"

#define MEMORY_FILES 0x01021994 /* as tmpfs says of itself */
#define NOW 0x3fffffff
#define OMIT 0x3ffffffe

/* ---- what it is ---- */

static long about_open(word number, struct stat *about)
{
    struct file *file = descriptor_file(number);
    if (!file)
        return -EBADF;
    file_describe(file, about);
    return 0;
}

long call_fstat(word number, word out)
{
    struct stat about;
    long error = about_open(number, &about);
    if (error || memory_reach(out, sizeof about, 1))
        return error ? error : -EFAULT;
    *(struct stat *)out = about;
    return 0;
}

static long describe(word from, word path, word flags, struct stat *about)
{
    struct node *node;
    char first;
    int empty = !!(flags & AT_EMPTY_PATH);
    if (empty && (int)from != AT_FDCWD && (!path || memory_text(&first, path, 1) == 0))
        return about_open(from, about);
    long error = path_node(from, path, !(flags & AT_SYMLINK_NOFOLLOW), empty, &node);
    if (!error)
        tree_describe(node, about);
    return error;
}

long call_fstatat(word from, word path, word out, word flags)
{
    struct stat about;
    if (flags & ~(word)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT))
        return -EINVAL;
    long error = describe(from, path, flags, &about);
    if (error || memory_reach(out, sizeof about, 1))
        return error ? error : -EFAULT;
    *(struct stat *)out = about;
    return 0;
}

static struct statx_timestamp stamp(struct timespec time)
{
    return (struct statx_timestamp){.tv_sec = time.tv_sec, .tv_nsec = (uint32_t)time.tv_nsec};
}

long call_statx(word from, word path, word flags, word mask, word out)
{
    struct stat about;
    (void)mask;
    long error = describe(from, path, flags, &about);
    if (error || memory_reach(out, sizeof(struct statx), 1))
        return error ? error : -EFAULT;
    *(struct statx *)out = (struct statx){.stx_mask = STATX_BASIC_STATS,
                                          .stx_blksize = (uint32_t)about.st_blksize,
                                          .stx_nlink = about.st_nlink,
                                          .stx_mode = (uint16_t)about.st_mode,
                                          .stx_ino = about.st_ino,
                                          .stx_size = (uint64_t)about.st_size,
                                          .stx_blocks = (uint64_t)about.st_blocks,
                                          .stx_atime = stamp(about.st_atim),
                                          .stx_ctime = stamp(about.st_ctim),
                                          .stx_mtime = stamp(about.st_mtim),
                                          .stx_rdev_minor = minor(about.st_rdev),
                                          .stx_dev_minor = minor(about.st_dev)};
    return 0;
}

/* The program is its enclave's root: it may all, but execute what nobody may. */
long call_faccessat(word from, word path, word mode, word flags)
{
    struct node *node;
    if (mode & ~7UL || flags & ~(word)(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    long error = path_node(from, path, !(flags & AT_SYMLINK_NOFOLLOW), !!(flags & AT_EMPTY_PATH), &node);
    if (error || !node)
        return error;
    return mode & X_OK && !S_ISDIR(node->mode) && !(node->mode & 0111) ? -EACCES : 0;
}

/* ---- changing what it is ---- */

static void set_mode(struct node *node, word mode)
{
    node->mode = (node->mode & S_IFMT) | ((uint32_t)mode & 07777);
}

long call_fchmod(word number, word mode)
{
    struct file *file = descriptor_file(number);
    if (!file || file->flags & O_PATH)
        return -EBADF;
    if (file->node)
        set_mode(file->node, mode);
    return 0;
}

long call_fchmodat(word from, word path, word mode, word flags)
{
    struct node *node;
    long error = path_node(from, path, !(flags & AT_SYMLINK_NOFOLLOW), !!(flags & AT_EMPTY_PATH), &node);
    if (error || !node)
        return error;
    if (S_ISLNK(node->mode))
        return -EOPNOTSUPP;
    set_mode(node, mode);
    return 0;
}

/* There is one user, root. */
static long check_owner(word user, word group)
{
    return ((int)user && (int)user != -1) || ((int)group && (int)group != -1) ? -EPERM : 0;
}

long call_fchown(word number, word user, word group)
{
    return descriptor_file(number) ? check_owner(user, group) : -EBADF;
}

long call_fchownat(word from, word path, word user, word group, word flags)
{
    struct node *node;
    long error = path_node(from, path, !(flags & AT_SYMLINK_NOFOLLOW), !!(flags & AT_EMPTY_PATH), &node);
    return error ? error : check_owner(user, group);
}

static int is_time(word nanoseconds)
{
    return nanoseconds < NS_PER_S || nanoseconds == NOW || nanoseconds == OMIT;
}

/* What a time of utimensat means for one that a file has. */
static void set_time(const word given[2], uint64_t *seconds, uint64_t *nanoseconds)
{
    word now = given[1] == NOW ? monitor_time_of_day() : 0;
    if (given[1] == OMIT)
        return;
    *seconds = given[1] == NOW ? now / NS_PER_S : given[0];
    *nanoseconds = given[1] == NOW ? now % NS_PER_S : given[1];
}

long call_utimensat(word from, word path, word times, word flags)
{
    struct node *node;
    word given[4] = {0, NOW, 0, NOW};
    if (times) {
        if (memory_reach(times, sizeof given, 0))
            return -EFAULT;
        memcpy(given, (const void *)times, sizeof given);
        if (given[1] == OMIT && given[3] == OMIT)
            return 0;
        if (!is_time(given[1]) || !is_time(given[3]))
            return -EINVAL;
    }
    if (flags & ~(word)(path ? AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH : 0))
        return -EINVAL;
    if (!path && (int)from == AT_FDCWD)
        return -EFAULT;
    long error = path_node(from, path, !(flags & AT_SYMLINK_NOFOLLOW), !path || flags & AT_EMPTY_PATH, &node);
    if (error || !node)
        return error;
    set_time(given, &node->read_seconds, &node->read_nanoseconds);
    set_time(given + 2, &node->seconds, &node->nanoseconds);
    return 0;
}

/* ---- the file system ---- */

static long about_system(word out)
{
    if (memory_reach(out, sizeof(struct statfs), 1))
        return -EFAULT;
    *(struct statfs *)out = (struct statfs){.f_type = MEMORY_FILES,
                                            .f_bsize = PAGE,
                                            .f_frsize = PAGE,
                                            .f_namelen = 255,
                                            .f_blocks = FILE_BYTES / PAGE,
                                            .f_bfree = FILE_BYTES / PAGE,
                                            .f_bavail = FILE_BYTES / PAGE};
    return 0;
}

long call_statfs(word path, word out)
{
    struct node *node;
    long error = path_node((word)AT_FDCWD, path, 1, 0, &node);
    return error ? error : about_system(out);
}

long call_fstatfs(word number, word out)
{
    return descriptor_file(number) ? about_system(out) : -EBADF;
}

long call_umask(word mask)
{
    unsigned old = tree_umask;
    tree_umask = (unsigned)mask & 0777;
    return old;
}
