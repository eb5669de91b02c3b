/*
 * Fuel: the number of blocks that a hart executes before it looks at the clock.  What a hart does at the beginning
 * of each block is in hart.h, begin_block().
 */
#define _GNU_SOURCE
#include <time.h>
#include "hart.h"

/*
 * How often the clock is read, in ns of guest execution: often enough for a tick, rarely enough to be cheap.
 */
#define CLOCK_READ_MIN_NS 20000
#define CLOCK_READ_MAX_NS 100000
#define FUEL_MIN 64
#define FUEL_MAX (1 << 20)
#define TRAPS_TO_REFILL 64 /* must not exceed FUEL_MIN */

uint64_t clock_ns(struct clock *clock)
{
    uint64_t manual = atomic_load(&clock->manual);
    if (manual)
        return manual - 1;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec - clock->origin;
}

bool read_counter(struct hart *h, unsigned csr, uint64_t *value)
{
    if (csr != CSR_TIME && csr != CSR_CYCLE)
        return false;
    *value = clock_ns(h->clock) / NS_PER_TICK;
    if (h->run && h->run->times)
        *value = told_time(h->run, *value);
    return true;
}

static void leave(struct hart *h, uint64_t cause)
{
    h->interrupt = cause;
    uc_emu_stop(h->uc);
}

bool time_is_up(struct hart *h)
{
    uint64_t now = clock_ns(h->clock), took = now - h->last_read;
    h->last_read = now;
    if (now >= h->deadline)
        return true;
    if (took < CLOCK_READ_MIN_NS && h->refill < FUEL_MAX)
        h->refill *= 2;
    else if (took > CLOCK_READ_MAX_NS && h->refill > FUEL_MIN)
        h->refill /= 2;
    h->fuel = h->refill;
    return false;
}

void stop_or_refuel(struct hart *h)
{
    if (atomic_load_explicit(&h->pending, memory_order_relaxed) != 0)
        leave(h, CAUSE_M_SOFTWARE);
    else if (h->counting || time_is_up(h))
        leave(h, CAUSE_M_TIMER);
}

bool arm(struct hart *h, uint64_t deadline, uint64_t blocks)
{
    h->deadline = deadline;
    h->counting = blocks != 0;
    if (h->counting) {
        h->fuel = (int64_t)blocks;
        return true;
    }
    h->last_read = clock_ns(h->clock);
    h->fuel = h->refill;
    return h->last_read < deadline;
}

void charge(struct hart *h)
{
    if (!h->counting)
        h->fuel -= h->refill / TRAPS_TO_REFILL;
}

bool is_break(const struct hart *h, uint64_t pc)
{
    for (uint64_t i = 0; i < h->break_count; i++)
        if (h->breaks[i] == pc)
            return true;
    return false;
}
