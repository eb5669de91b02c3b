/*
 * Threads: waiting until a hart has left the guest, and what the operating system is asked for meanwhile.
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "hart.h"

/*
 * About 6 us: a hart that is running leaves within that; one that waits for a core gets one when the waiter
 * sleeps.
 */
#define SPINS 200
#define LEND_AFTER_NS 200000
/* A hart's time slice on a core that other threads want too. */
#define TURN_NS 100000

void enter_guest(struct hart *h)
{
    static _Thread_local pid_t me;
    if (!me)
        me = (pid_t)syscall(SYS_gettid);
    atomic_store_explicit(&h->thread, me, memory_order_relaxed);
    atomic_store(&h->in_guest, 1);
}

void leave_guest(struct hart *h)
{
    atomic_store(&h->in_guest, 0);
    if (atomic_load(&h->sleepers))
        syscall(SYS_futex, &h->in_guest, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

/*
 * A hart that has not left for so long waits for a core behind another thread, for a slice of some ms, while
 * this one is about to be free: it moves here.  Its thread, and in `before` where it may be; 0 if it stays.
 */
static pid_t lend_core(struct hart *h, cpu_set_t *before)
{
    int core = sched_getcpu();
    pid_t thread = atomic_load(&h->thread);
    cpu_set_t here;
    CPU_ZERO(&here);
    if (core < 0 || core >= CPU_SETSIZE || atomic_exchange(&h->lent, 1))
        return 0;
    CPU_SET(core, &here);
    if (!sched_getaffinity(thread, sizeof *before, before) && CPU_ISSET(core, before) &&
        !sched_setaffinity(thread, sizeof here, &here))
        return thread;
    atomic_store(&h->lent, 0);
    return 0;
}

void await_exit(struct hart *h)
{
    for (int i = 0; i < SPINS; i++) {
        if (!atomic_load(&h->in_guest))
            return;
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }
    static const struct timespec patience = {.tv_nsec = LEND_AFTER_NS};
    atomic_fetch_add(&h->sleepers, 1);
    if (atomic_load(&h->in_guest))
        syscall(SYS_futex, &h->in_guest, FUTEX_WAIT_PRIVATE, 1, &patience, NULL, 0);
    cpu_set_t before;
    pid_t moved = atomic_load(&h->in_guest) ? lend_core(h, &before) : 0;
    while (atomic_load(&h->in_guest))
        syscall(SYS_futex, &h->in_guest, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
    if (moved) {
        sched_setaffinity(moved, sizeof before, &before);
        atomic_store(&h->lent, 0);
    }
    atomic_fetch_sub(&h->sleepers, 1);
}

/* The kernel's struct, which not every C library declares. */
struct scheduling {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

/*
 * Called on a hart's thread when it begins.  Where several threads want a core it gets short turns, and gets one
 * sooner when it is woken.  Linux before 6.12 takes no notice; a policy that the user has chosen stays.
 */
EXPORT void hart_thread(void)
{
    if (sched_getscheduler(0) != SCHED_OTHER)
        return;
    struct scheduling wanted = {
        .size = sizeof wanted, .nice = getpriority(PRIO_PROCESS, 0), .runtime = TURN_NS};
    syscall(SYS_sched_setattr, 0, &wanted, 0);
}
