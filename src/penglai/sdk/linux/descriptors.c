/* Descriptors: numbers of what is open. */
#include <fcntl.h>
#include <sys/file.h>
#include "linux.h"

#define SETTABLE (O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME)
#define UNSHARE_RANGE 2 /* of close_range */
#define CLOEXEC_RANGE 4

static struct file **table;
static unsigned char *on_exec; /* whether it would be closed */

int descriptors_begin(void)
{
    table = heap_new(DESCRIPTORS * sizeof *table);
    on_exec = heap_new(DESCRIPTORS);
    struct file *in = file_new(CONSOLE, O_RDONLY), *out = file_new(CONSOLE, O_WRONLY),
                *errors = file_new(CONSOLE, O_WRONLY);
    if (!table || !on_exec || !in || !out || !errors)
        return 0;
    out->offset = 1;
    errors->offset = 2;
    table[0] = in;
    table[1] = out;
    table[2] = errors;
    return 1;
}

struct file *descriptor_file(word number)
{
    return (unsigned)number < DESCRIPTORS ? table[(unsigned)number] : NULL;
}

long descriptor_new(struct file *file, word from, int closes_on_exec)
{
    for (word number = from; number < DESCRIPTORS; number++)
        if (!table[number]) {
            table[number] = file;
            on_exec[number] = !!closes_on_exec;
            return (long)number;
        }
    return -EMFILE;
}

long call_close(word number)
{
    struct file *file = descriptor_file(number);
    if (!file)
        return -EBADF;
    number = (unsigned)number;
    table[number] = NULL;
    epoll_forget(number, file);
    file_release(file);
    return 0;
}

long call_close_range(word first, word last, word flags)
{
    first = (unsigned)first;
    last = (unsigned)last;
    if (first > last || flags & ~(word)(UNSHARE_RANGE | CLOEXEC_RANGE))
        return -EINVAL;
    for (word number = first; number <= last && number < DESCRIPTORS; number++) {
        if (flags & CLOEXEC_RANGE)
            on_exec[number] = 1;
        else
            call_close(number);
    }
    return 0;
}

static long duplicate(word number, word from, int closes_on_exec)
{
    struct file *file = descriptor_file(number);
    if (!file)
        return -EBADF;
    if (from >= DESCRIPTORS)
        return -EINVAL;
    long new = descriptor_new(file, from, closes_on_exec);
    file->uses += new >= 0;
    return new;
}

long call_dup(word number)
{
    return duplicate(number, 0, 0);
}

long call_dup3(word number, word to, word flags)
{
    struct file *file = descriptor_file(number);
    if (!file || (unsigned)to >= DESCRIPTORS)
        return -EBADF;
    if (flags & ~(word)O_CLOEXEC || (unsigned)number == (unsigned)to)
        return -EINVAL;
    to = (unsigned)to;
    file->uses++;
    call_close(to);
    table[to] = file;
    on_exec[to] = !!(flags & O_CLOEXEC);
    return (long)to;
}

/* Only this process has locks, so none is in its way. */
static long lock(word command, word argument)
{
    if (memory_reach(argument, sizeof(struct flock), 1))
        return -EFAULT;
    struct flock *lock = (struct flock *)argument;
    if (lock->l_type != F_RDLCK && lock->l_type != F_WRLCK && lock->l_type != F_UNLCK)
        return -EINVAL;
    if (command == F_GETLK || command == F_OFD_GETLK)
        lock->l_type = F_UNLCK;
    return 0;
}

long call_fcntl(word number, word command, word argument)
{
    struct file *file = descriptor_file(number);
    if (!file)
        return -EBADF;
    number = (unsigned)number;
    switch (command) {
    case F_DUPFD:
        return duplicate(number, argument, 0);
    case F_DUPFD_CLOEXEC:
        return duplicate(number, argument, 1);
    case F_GETFD:
        return on_exec[number] ? FD_CLOEXEC : 0;
    case F_SETFD:
        on_exec[number] = argument & FD_CLOEXEC;
        return 0;
    case F_GETFL:
        return file->flags | O_LARGEFILE;
    case F_SETFL:
        file->flags = (file->flags & ~SETTABLE) | ((int)argument & SETTABLE);
        return 0;
    case F_GETPIPE_SZ:
        return pipe_size(file, 0);
    case F_SETPIPE_SZ:
        return (int)argument < 0 ? -EINVAL : pipe_size(file, argument ? (unsigned)argument : 1);
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
        return lock(command, argument);
    default:
        return -EINVAL;
    }
}

static int is_locked_by_another(const struct file *file, int kind)
{
    for (word number = 0; number < DESCRIPTORS; number++) {
        const struct file *other = table[number];
        if (other && other != file && other->node == file->node && other->lock &&
            (kind == LOCK_EX || other->lock == LOCK_EX))
            return 1;
    }
    return 0;
}

static void set_lock(struct file *file, int kind)
{
    if (file->lock)
        wake_files();
    file->lock = kind;
}

/* What is open has the lock, so that a file that was opened twice can be in its own way. */
long call_flock(word number, word operation)
{
    int kind = (int)operation & ~LOCK_NB;
    struct file *file = descriptor_file(number);
    if (kind != LOCK_SH && kind != LOCK_EX && kind != LOCK_UN)
        return -EINVAL;
    if (!file || file->flags & O_PATH)
        return -EBADF;
    if (kind == LOCK_UN || kind != file->lock)
        set_lock(file, 0);
    if (kind == LOCK_UN || file->lock == kind)
        return 0;
    if (file->node && is_locked_by_another(file, kind))
        return operation & LOCK_NB ? -EWOULDBLOCK : wait_for(WAITS_FILES, NEVER);
    set_lock(file, kind);
    return 0;
}
