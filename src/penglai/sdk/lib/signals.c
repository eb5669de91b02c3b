/*
 * What a program says of signals, kept and given back.  One that it raises ends the enclave, unless it is
 * ignored or blocked: no handler could be called that makes system calls.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include "runtime.h"

#define SIGNALS 64
#define SIGNAL_RESULT 128
#define OWN_PROCESS 1
#define BIT(signal) (1UL << ((signal) - 1))
#define UNSTOPPABLE (BIT(SIGKILL) | BIT(SIGSTOP))
#define HARMLESS (BIT(SIGCHLD) | BIT(SIGCONT) | BIT(SIGURG) | BIT(SIGWINCH))

/* As Linux has it, which is not as the C library has it. */
struct action {
    void (*handler)(int);
    unsigned long flags, mask;
};

static struct action actions[SIGNALS + 1];
static unsigned long blocked, pending;

static void take(unsigned long signals)
{
    for (unsigned long signal = 1; signal <= SIGNALS; signal++) {
        void (*handler)(int) = actions[signal].handler;
        if (signals & BIT(signal) && handler != SIG_IGN && !(handler == SIG_DFL && HARMLESS & BIT(signal)))
            eapp_end(SIGNAL_RESULT + signal);
    }
}

static void take_pending(void)
{
    unsigned long now = pending & ~blocked;
    pending &= blocked;
    take(now);
}

static long set_action(unsigned long signal, const struct action *new, struct action *old)
{
    if (signal - 1 >= SIGNALS || (new && UNSTOPPABLE & BIT(signal)))
        return -EINVAL;
    struct action before = actions[signal];
    if (new)
        actions[signal] = *new;
    if (old)
        *old = before;
    return 0;
}

static long set_mask(long how, const unsigned long *new, unsigned long *old)
{
    unsigned long before = blocked;
    if (new) {
        if (how != SIG_BLOCK && how != SIG_UNBLOCK && how != SIG_SETMASK)
            return -EINVAL;
        blocked = how == SIG_BLOCK ? before | *new : how == SIG_UNBLOCK ? before & ~*new : *new;
        blocked &= ~UNSTOPPABLE;
    }
    if (old)
        *old = before;
    take_pending();
    return 0;
}

static long raise_signal(long process, unsigned long signal)
{
    if (process != OWN_PROCESS)
        return -ESRCH;
    if (signal > SIGNALS)
        return -EINVAL;
    if (signal)
        pending |= BIT(signal);
    take_pending();
    return 0;
}

long eapp_signal_call(long number, long a, long b, long c, long d)
{
    (void)d;
    switch (number) {
    case SYS_rt_sigaction:
        return set_action((unsigned long)a, (const struct action *)b, (struct action *)c);
    case SYS_rt_sigprocmask:
        return set_mask(a, (const unsigned long *)b, (unsigned long *)c);
    case SYS_rt_sigpending:
        *(unsigned long *)a = pending;
        return 0;
    case SYS_tgkill:
        return raise_signal(b, (unsigned long)c);
    default: /* kill and tkill */
        return raise_signal(a, (unsigned long)b);
    }
}
