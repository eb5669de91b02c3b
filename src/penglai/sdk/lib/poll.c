/* Waiting for descriptors: each is ready, or will never be, so what is left is to sleep. */
#include <errno.h>
#include <poll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include "runtime.h"

#define BOTH_IN (POLLIN | POLLRDNORM)
#define BOTH_OUT (POLLOUT | POLLWRNORM)

static const struct timespec for_ever = {.tv_sec = 0x7fffffffffffffff};

static long wait_for_nothing(const struct timespec *timeout)
{
    return eapp_wait(CLOCK_MONOTONIC, 0, timeout ? timeout : &for_ever);
}

static long poll_all(struct pollfd *all, unsigned long count, const struct timespec *timeout)
{
    long ready = 0;
    for (unsigned long i = 0; i < count; i++) {
        int now = all[i].fd < 0 ? 0 : eapp_readiness(all[i].fd);
        int found = (now & POLLIN ? BOTH_IN : 0) | (now & POLLOUT ? BOTH_OUT : 0);
        all[i].revents = (short)((found & all[i].events) | (now & POLLNVAL));
        ready += all[i].revents != 0;
    }
    return ready ? ready : wait_for_nothing(timeout);
}

/* Keeps the descriptors of a set that are ready. */
static long select_ready(long count, fd_set *set, int wanted, int change)
{
    long ready = 0;
    for (int descriptor = 0; set && descriptor < count; descriptor++) {
        if (!FD_ISSET(descriptor, set))
            continue;
        int now = eapp_readiness(descriptor);
        if (now & POLLNVAL)
            return -EBADF;
        if (now & wanted)
            ready++;
        else if (change)
            FD_CLR(descriptor, set);
    }
    return ready;
}

static long select_all(long count, fd_set *in, fd_set *out, fd_set *except, const struct timespec *timeout)
{
    if (count < 0)
        return -EINVAL;
    if (count > FD_SETSIZE)
        count = FD_SETSIZE;
    long ready = 0;
    for (int change = 0; change < 2; change++) { /* a bad descriptor is found before anything is changed */
        long readable = select_ready(count, in, POLLIN, change);
        long writable = select_ready(count, out, POLLOUT, change);
        long excepted = select_ready(count, except, 0, change);
        if (readable < 0 || writable < 0 || excepted < 0)
            return -EBADF;
        ready = readable + writable;
    }
    return ready ? ready : wait_for_nothing(timeout);
}

long eapp_poll_call(long number, long a, long b, long c, long d, long e)
{
    if (number == SYS_ppoll)
        return poll_all((struct pollfd *)a, (unsigned long)b, (const struct timespec *)c);
    return select_all(a, (fd_set *)b, (fd_set *)c, (fd_set *)d, (const struct timespec *)e);
}
