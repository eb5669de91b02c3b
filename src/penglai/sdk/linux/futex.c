/* Futexes: threads that wait for a number in memory. */
#include <linux/futex.h>
#include "linux.h"

long futex_wake(word address, word most, unsigned bits)
{
    long woken = 0;
    for (struct thread *thread = threads_first(); thread && (word)woken < most; thread = thread->next)
        if (thread->wait == WAITS_FUTEX && thread->futex == address && thread->bits & bits &&
            !thread->woken) {
            wake(thread);
            woken++;
        }
    return woken;
}

static long wait_futex(word address, unsigned value, word timeout, unsigned bits, int absolute, int of_day)
{
    word end = NEVER, now;
    if (!bits)
        return -EINVAL;
    if (current->again) {
        if (current->woken)
            return 0;
        if (wait_is_over())
            return -ETIMEDOUT;
        return wait_for(WAITS_FUTEX, current->deadline);
    }
    if (memory_reach(address, sizeof(unsigned), 0))
        return -EFAULT;
    if (timeout) {
        long error = time_read(timeout, 0, &end);
        if (error)
            return error;
        time_of(of_day ? 0 : 1, &now);
        end = absolute ? (end > now ? end - now : 0) : end;
        end = wait_until(end);
    }
    if (*(volatile unsigned *)address != value)
        return -EAGAIN;
    current->futex = address;
    current->bits = bits;
    return wait_for(WAITS_FUTEX, end);
}

static long requeue(word address, word value, word most, word other, int compares, unsigned expected)
{
    if (memory_reach(address, sizeof(unsigned), 0) || memory_reach(other, sizeof(unsigned), 0))
        return -EFAULT;
    if (compares && *(volatile unsigned *)address != expected)
        return -EAGAIN;
    long woken = futex_wake(address, value, ~0U);
    word moved = 0;
    for (struct thread *thread = threads_first(); thread && moved < most; thread = thread->next)
        if (thread->wait == WAITS_FUTEX && thread->futex == address && !thread->woken) {
            thread->futex = other;
            moved++;
        }
    return woken + (compares ? (long)moved : 0);
}

long call_futex(word address, word operation, word value, word timeout, word other, word bits)
{
    int of_day = !!(operation & FUTEX_CLOCK_REALTIME);
    if (address % sizeof(unsigned))
        return -EINVAL;
    switch (operation & FUTEX_CMD_MASK) {
    case FUTEX_WAIT:
        return wait_futex(address, (unsigned)value, timeout, ~0U, 0, 0);
    case FUTEX_WAIT_BITSET:
        return wait_futex(address, (unsigned)value, timeout, (unsigned)bits, 1, of_day);
    case FUTEX_WAKE:
        return futex_wake(address, (word)(int)value, ~0U);
    case FUTEX_WAKE_BITSET:
        return bits ? futex_wake(address, (word)(int)value, (unsigned)bits) : -EINVAL;
    case FUTEX_REQUEUE:
        return requeue(address, (word)(int)value, timeout, other, 0, 0);
    case FUTEX_CMP_REQUEUE:
        return requeue(address, (word)(int)value, timeout, other, 1, (unsigned)bits);
    default:
        return -ENOSYS;
    }
}
