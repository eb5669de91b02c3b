/* Clocks, and waiting for them. */
#include <errno.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include "runtime.h"

#define NS_PER_S 1000000000UL
#define NS_PER_TICK 100

static unsigned long monotonic(void)
{
    unsigned long ticks;
    __asm__ volatile("rdtime %0" : "=r"(ticks));
    return ticks * NS_PER_TICK;
}

static unsigned long now(int clock)
{
    int of_day = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI;
    return of_day ? (unsigned long)eapp_ecall(EAPP_ECALL_CLOCK, 0, 0, 0) : monotonic();
}

static struct timespec split(unsigned long ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
}

static long get_time_of_day(struct timeval *value)
{
    struct timespec time = split(now(CLOCK_REALTIME));
    if (value)
        *value = (struct timeval){.tv_sec = time.tv_sec, .tv_usec = time.tv_nsec / 1000};
    return 0;
}

static long wait(int clock, int absolute, const struct timespec *time)
{
    if ((unsigned long)time->tv_nsec >= NS_PER_S || time->tv_sec < 0)
        return -EINVAL;
    unsigned long end;
    if (__builtin_mul_overflow((unsigned long)time->tv_sec, NS_PER_S, &end) ||
        __builtin_add_overflow(end, (unsigned long)time->tv_nsec, &end) ||
        (!absolute && __builtin_add_overflow(end, now(clock), &end)))
        end = -1UL;
    while (now(clock) < end)
        eapp_yield();
    return 0;
}

long eapp_time_call(long number, long a, long b, long c, long d)
{
    (void)d;
    switch (number) {
    case SYS_clock_gettime:
        if ((unsigned long)a > CLOCK_TAI)
            return -EINVAL;
        *(struct timespec *)b = split(now((int)a));
        return 0;
    case SYS_clock_getres:
        if ((unsigned long)a > CLOCK_TAI)
            return -EINVAL;
        if (b)
            *(struct timespec *)b = split(NS_PER_TICK);
        return 0;
    case SYS_gettimeofday:
        return get_time_of_day((struct timeval *)a);
    case SYS_nanosleep:
        return wait(CLOCK_MONOTONIC, 0, (const struct timespec *)a);
    default: /* clock_nanosleep */
        return (unsigned long)a > CLOCK_TAI ? -EINVAL
                                            : wait((int)a, (int)b & TIMER_ABSTIME, (const struct timespec *)c);
    }
}
