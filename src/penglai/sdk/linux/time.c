/* Clocks, timers, and sleeping.  The time of day is the machine owner's word, as on any computer. */
#include <signal.h>
#include <sys/time.h>
#include <sys/times.h>
#include <time.h>
#include "linux.h"

#define NS_PER_TICK 100
#define TICKS_PER_S 100 /* of times() */
#define TIMERS 3

static struct {
    word due, period; /* ns; due NEVER: not armed */
} timers[TIMERS] = {{NEVER, 0}, {NEVER, 0}, {NEVER, 0}};
static const int timer_signals[TIMERS] = {SIGALRM, SIGVTALRM, SIGPROF};

/* 0, or -EINVAL for a clock that there is not.  Time that a thread has used is not told apart from time that has passed. */
int time_of(word clock, word *ns)
{
    switch ((int)clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_TAI:
        *ns = monitor_time_of_day();
        return 0;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
    case CLOCK_PROCESS_CPUTIME_ID:
    case CLOCK_THREAD_CPUTIME_ID:
        *ns = ticks_ns();
        return 0;
    default: /* those of pthread_getcpuclockid are negative */
        *ns = ticks_ns();
        return (int)clock < 0 ? 0 : -EINVAL;
    }
}

/* micro: it is a timeval. */
long time_read(word address, int micro, word *ns)
{
    if (memory_reach(address, 16, 0))
        return -EFAULT;
    word seconds = ((word *)address)[0], rest = ((word *)address)[1], unit = micro ? 1000 : 1;
    if ((long)seconds < 0 || rest >= NS_PER_S / unit)
        return -EINVAL;
    if (__builtin_mul_overflow(seconds, NS_PER_S, ns) || __builtin_add_overflow(*ns, rest * unit, ns))
        *ns = NEVER;
    return 0;
}

/* unit: ns of the smaller part. */
long write_time(word address, word ns, word unit)
{
    if (memory_reach(address, 16, 1))
        return -EFAULT;
    ((word *)address)[0] = ns / NS_PER_S;
    ((word *)address)[1] = ns % NS_PER_S / unit;
    return 0;
}

long call_clock_gettime(word clock, word time)
{
    word ns;
    return time_of(clock, &ns) ? -EINVAL : write_time(time, ns, 1);
}

long call_clock_getres(word clock, word time)
{
    word ns;
    if (time_of(clock, &ns))
        return -EINVAL;
    return time ? write_time(time, NS_PER_TICK, 1) : 0;
}

long call_gettimeofday(word time, word zone)
{
    if (zone) {
        if (memory_reach(zone, 8, 1))
            return -EFAULT;
        *(word *)zone = 0;
    }
    return time ? write_time(time, monitor_time_of_day(), 1000) : 0;
}

static long sleep(word ns, word rest)
{
    if (wait_is_over())
        return 0;
    word end = wait_until(ns);
    long result = wait_for(SLEEPS, end);
    if (result == -EINTR && rest) {
        word now = ticks_ns();
        if (write_time(rest, end > now ? end - now : 0, 1))
            return -EFAULT;
    }
    return result;
}

long call_nanosleep(word time, word rest)
{
    word ns = 0;
    long error = current->again ? 0 : time_read(time, 0, &ns);
    return error ? error : sleep(ns, rest);
}

long call_clock_nanosleep(word clock, word flags, word time, word rest)
{
    word ns = 0, now;
    long error = current->again ? 0 : time_read(time, 0, &ns);
    if (time_of(clock, &now) || clock == CLOCK_THREAD_CPUTIME_ID)
        return -EINVAL;
    if (error)
        return error;
    if (!(flags & TIMER_ABSTIME))
        return sleep(ns, rest);
    return sleep(ns > now ? ns - now : 0, 0);
}

/* ---- interval timers ---- */

int timers_armed(void)
{
    return timers[0].due != NEVER || timers[1].due != NEVER || timers[2].due != NEVER;
}

word timers_next(void)
{
    word next = NEVER;
    for (int i = 0; i < TIMERS; i++)
        next = timers[i].due < next ? timers[i].due : next;
    return next;
}

void timers_expire(void)
{
    word now = ticks_ns();
    for (int i = 0; i < TIMERS; i++) {
        if (timers[i].due > now)
            continue;
        word missed = timers[i].period ? (now - timers[i].due) / timers[i].period + 1 : 0;
        timers[i].due = timers[i].period ? timers[i].due + missed * timers[i].period : NEVER;
        signal_raise(NULL, (struct pending){timer_signals[i], SI_KERNEL, 0, 0});
        threads_set_events();
    }
}

long call_getitimer(word which, word old)
{
    if (which >= TIMERS)
        return -EINVAL;
    word now = ticks_ns(), due = timers[which].due;
    if (memory_reach(old, 32, 1))
        return -EFAULT;
    write_time(old, timers[which].period, 1000);
    return write_time(old + 16, due == NEVER ? 0 : due > now + 1000 ? due - now : 1000, 1000);
}

long call_setitimer(word which, word new, word old)
{
    word period = 0, first = 0;
    if (which >= TIMERS)
        return -EINVAL;
    long error = new ? time_read(new, 1, &period) : 0;
    if (!error && new)
        error = time_read(new + 16, 1, &first);
    if (!error && old)
        error = call_getitimer(which, old);
    if (error)
        return error;
    word due;
    timers[which].period = period;
    timers[which].due = !first || __builtin_add_overflow(ticks_ns(), first, &due) ? NEVER : due;
    threads_set_events();
    return 0;
}

long call_times(word out)
{
    word ticks = ticks_ns() / (NS_PER_S / TICKS_PER_S);
    if (out) {
        if (memory_reach(out, sizeof(struct tms), 1))
            return -EFAULT;
        *(struct tms *)out = (struct tms){.tms_utime = (clock_t)ticks};
    }
    return (long)ticks;
}
