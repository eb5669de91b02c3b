/* Clocks, and waiting for them. */
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>
#include <time.h>
#include "runtime.h"

#define NS_PER_S 1000000000UL
#define TICKS_PER_S 100

unsigned long eapp_monotonic(void)
{
    unsigned long ticks;
    __asm__ volatile("rdtime %0" : "=r"(ticks));
    return ticks * EAPP_NS_PER_TICK;
}

static unsigned long now(int clock)
{
    int of_day = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI;
    return of_day ? (unsigned long)eapp_ecall(EAPP_ECALL_CLOCK, 0, 0, 0) : eapp_monotonic();
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

long eapp_wait(int clock, int absolute, const struct timespec *time)
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

/* A program has all of the time: nobody tells it how much of it others had. */
static long count_times(struct tms *spent)
{
    long ticks = (long)(eapp_monotonic() / (NS_PER_S / TICKS_PER_S));
    if (spent)
        *spent = (struct tms){.tms_utime = ticks};
    return ticks;
}

static long count_usage(int who, struct rusage *usage)
{
    if (who != RUSAGE_SELF && who != RUSAGE_THREAD && who != RUSAGE_CHILDREN)
        return -EINVAL;
    /* Not all of the C library's: it has some beyond what the kernel writes. */
    memset(usage, 0, offsetof(struct rusage, __reserved));
    if (who != RUSAGE_CHILDREN) {
        struct timespec time = split(eapp_monotonic());
        usage->ru_utime = (struct timeval){.tv_sec = time.tv_sec, .tv_usec = time.tv_nsec / 1000};
    }
    return 0;
}

#ifdef EAPP_PORTABLE
/* Nobody tells the time of day: it is refused, and 0 for those who do not look at the result. */
static int is_time_of_day(long number, long clock)
{
    int of_day = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI;
    return number == SYS_gettimeofday ||
           (of_day && (number == SYS_clock_gettime || number == SYS_clock_nanosleep));
}
#endif

long eapp_time_call(long number, long a, long b, long c, long d)
{
    (void)d;
#ifdef EAPP_PORTABLE
    if (is_time_of_day(number, a)) {
        if (number == SYS_clock_gettime)
            *(struct timespec *)b = (struct timespec){0};
        return -EINVAL;
    }
#endif
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
            *(struct timespec *)b = split(EAPP_NS_PER_TICK);
        return 0;
    case SYS_gettimeofday:
        return get_time_of_day((struct timeval *)a);
    case SYS_times:
        return count_times((struct tms *)a);
    case SYS_getrusage:
        return count_usage((int)a, (struct rusage *)b);
    case SYS_nanosleep:
        return eapp_wait(CLOCK_MONOTONIC, 0, (const struct timespec *)a);
    default: /* clock_nanosleep */
        return (unsigned long)a > CLOCK_TAI
                   ? -EINVAL
                   : eapp_wait((int)a, (int)b & TIMER_ABSTIME, (const struct timespec *)c);
    }
}
