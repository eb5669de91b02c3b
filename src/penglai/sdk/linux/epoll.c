/* eventfd and epoll. */
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include "linux.h"

#define ALWAYS (EPOLLERR | EPOLLHUP)
#define FLAGS (EPOLLET | EPOLLONESHOT | EPOLLWAKEUP | EPOLLEXCLUSIVE)
#define MOST_EVENTS 1024

static long give(struct file *file, int closes_on_exec)
{
    long number = descriptor_new(file, 0, closes_on_exec);
    if (number < 0)
        file_release(file);
    return number;
}

/* ---- eventfd ---- */

long call_eventfd(word value, word flags)
{
    if (flags & ~(word)(EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE))
        return -EINVAL;
    word *count = heap_new(sizeof *count);
    struct file *file =
        count ? file_new(EVENT, O_RDWR | (int)(flags & (EFD_NONBLOCK | EFD_SEMAPHORE))) : NULL;
    if (!file)
        return -ENOMEM;
    *count = (unsigned)value;
    file->more = count;
    return give(file, !!(flags & EFD_CLOEXEC));
}

long event_read(struct file *file, word buffer, word size)
{
    word *count = file->more;
    if (size < sizeof *count)
        return -EINVAL;
    if (!*count)
        return file->flags & O_NONBLOCK ? -EAGAIN : wait_for(WAITS_FILES, NEVER);
    if (memory_reach(buffer, sizeof *count, 1))
        return -EFAULT;
    word taken = file->flags & EFD_SEMAPHORE ? 1 : *count;
    *(word *)buffer = taken;
    *count -= taken;
    wake_files();
    return sizeof *count;
}

long event_write(struct file *file, word buffer, word size)
{
    word *count = file->more, more;
    if (size < sizeof *count)
        return -EINVAL;
    if (memory_reach(buffer, sizeof *count, 0))
        return -EFAULT;
    more = *(word *)buffer;
    if (more == NEVER)
        return -EINVAL;
    if (NEVER - 1 - *count < more)
        return file->flags & O_NONBLOCK ? -EAGAIN : wait_for(WAITS_FILES, NEVER);
    *count += more;
    wake_files();
    return sizeof *count;
}

unsigned event_ready(const struct file *file)
{
    word count = *(const word *)file->more;
    return (count ? POLLIN | POLLRDNORM : 0) | (count < NEVER - 1 ? POLLOUT | POLLWRNORM : 0);
}

/* ---- epoll ---- */

struct interest {
    struct interest *next;
    struct file *file;
    word number, data, seen; /* seen: files_changed when it was told last */
    unsigned events;
};

struct epoll {
    struct interest *first;
};

static struct epoll *epolls_of(word number)
{
    struct file *file = descriptor_file(number);
    return file && file->kind == EPOLL ? file->more : NULL;
}

long call_epoll_create(word flags)
{
    if (flags & ~(word)EPOLL_CLOEXEC)
        return -EINVAL;
    struct epoll *epoll = heap_new(sizeof *epoll);
    struct file *file = epoll ? file_new(EPOLL, O_RDWR) : NULL;
    if (!file)
        return -ENOMEM;
    file->more = epoll;
    return give(file, !!(flags & EPOLL_CLOEXEC));
}

static struct interest **find(struct epoll *epoll, word number)
{
    struct interest **link = &epoll->first;
    while (*link && (*link)->number != number)
        link = &(*link)->next;
    return link;
}

static void drop(struct interest **link)
{
    struct interest *gone = *link;
    *link = gone->next;
    heap_free(gone, sizeof *gone);
}

long call_epoll_ctl(word number, word operation, word of, word event)
{
    struct epoll *epoll = epolls_of(number);
    struct file *file = descriptor_file(of);
    of = (unsigned)of;
    if (!descriptor_file(number) || !file)
        return -EBADF;
    if (!epoll || file == descriptor_file(number))
        return -EINVAL;
    if (file->kind == REGULAR || file->kind == DIRECTORY)
        return -EPERM;
    struct interest **link = find(epoll, of);
    if (operation == EPOLL_CTL_DEL) {
        if (!*link)
            return -ENOENT;
        drop(link);
        return 0;
    }
    if (operation != EPOLL_CTL_ADD && operation != EPOLL_CTL_MOD)
        return -EINVAL;
    if (memory_reach(event, sizeof(struct epoll_event), 0))
        return -EFAULT;
    if (operation == EPOLL_CTL_ADD ? *link != NULL : !*link)
        return *link ? -EEXIST : -ENOENT;
    if (!*link && !(*link = heap_new(sizeof **link)))
        return -ENOMEM;
    struct epoll_event wanted = *(const struct epoll_event *)event;
    struct interest *next = (*link)->next;
    **link = (struct interest){next, file, of, wanted.data.u64, NEVER, wanted.events};
    wake_files();
    return 0;
}

static unsigned state_of(const struct interest *interest)
{
    return file_ready(interest->file) & (interest->events | ALWAYS) & ~FLAGS;
}

static long collect(struct epoll *epoll, struct epoll_event *out, word most)
{
    word found = 0;
    for (struct interest *interest = epoll->first; interest && found < most; interest = interest->next) {
        unsigned state = state_of(interest);
        if (!state || (interest->events & EPOLLET && interest->seen == files_changed))
            continue;
        interest->seen = files_changed;
        out[found].events = state;
        out[found++].data.u64 = interest->data;
        if (interest->events & EPOLLONESHOT)
            interest->events = 0;
    }
    return (long)found;
}

long call_epoll_pwait(word number, word events, word most, word timeout, word mask, word size)
{
    struct epoll *epoll = epolls_of(number);
    if (!epoll)
        return descriptor_file(number) ? -EINVAL : -EBADF;
    if ((int)most <= 0)
        return -EINVAL;
    most = (int)most < MOST_EVENTS ? most : MOST_EVENTS;
    if (memory_reach(events, most * sizeof(struct epoll_event), 1))
        return -EFAULT;
    long error = signal_mask_for_call(mask, size);
    if (error)
        return error;
    long found = collect(epoll, (struct epoll_event *)events, most);
    if (found || !(int)timeout || wait_is_over())
        return found;
    return wait_for(WAITS_FILES, (int)timeout < 0 ? NEVER : wait_until((word)(int)timeout * 1000000));
}

unsigned epoll_ready(const struct file *file)
{
    static int depth; /* epolls may watch each other */
    unsigned ready = 0;
    if (depth > 4)
        return 0;
    depth++;
    for (struct interest *interest = ((struct epoll *)file->more)->first; interest && !ready;
         interest = interest->next)
        ready = state_of(interest) ? POLLIN | POLLRDNORM : 0;
    depth--;
    return ready;
}

void epoll_release(struct file *file)
{
    struct epoll *epoll = file->more;
    while (epoll->first)
        drop(&epoll->first);
    heap_free(epoll, sizeof *epoll);
}

/* A descriptor is closed: no epoll watches it any more. */
void epoll_forget(word number, const struct file *file)
{
    for (word i = 0; i < DESCRIPTORS; i++) {
        struct epoll *epoll = epolls_of(i);
        struct interest **link = epoll ? find(epoll, number) : NULL;
        if (link && *link && (*link)->file == file)
            drop(link);
    }
}
