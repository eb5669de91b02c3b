/*
 * Accesses that a window refuses.  The system sends a signal; the handler knows from a table which instruction of the
 * guest it was, and lets the thread go on where native code is left.  It touches nothing but the frame, and acts
 * only on instructions of the code that its thread is running: all other faults are those of who had the
 * signal before.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include "native.h"

#define HWCAP2_WRGSBASE 2
#define ARCH_SET_GS_BASE 0x1001
#define ERROR_WRITE 2

static const int signals[] = {SIGSEGV, SIGBUS};
enum { SIGNALS = sizeof signals / sizeof signals[0] };
static struct sigaction previous[SIGNALS];
static _Atomic bool passed_on;

static _Thread_local struct native *volatile running_native;
static _Thread_local struct code *volatile running_code;

/* Whose instruction it is that stands there in the area; false if it makes no access of the guest. */
static bool find_site(struct code *code, uint32_t place, uint64_t *pc)
{
    struct batch *b = atomic_load_explicit(&code->batches, memory_order_acquire);
    while (b && !(place >= b->start && place < b->end))
        b = b->next;
    size_t low = 0, high = b ? b->count : 0;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (b->sites[middle].at < place)
            low = middle + 1;
        else
            high = middle;
    }
    if (!b || low == b->count || b->sites[low].at != place)
        return false;
    *pc = b->sites[low].pc;
    return true;
}

/* A second fault that nobody here knows ends the process: whoever had it first has not. */
static void pass_on(int number, siginfo_t *info, void *context)
{
    struct sigaction *other = &previous[number == SIGBUS];
    bool again = atomic_exchange(&passed_on, true);
    if (!again && other->sa_flags & SA_SIGINFO)
        other->sa_sigaction(number, info, context);
    else if (!again && other->sa_handler != SIG_DFL && other->sa_handler != SIG_IGN)
        other->sa_handler(number);
    else
        signal(number, SIG_DFL); /* and the instruction faults again */
}

/*
 * A handler that somebody put in the place of ours, and that does not know what to do with the fault of an enclave, as
 * faulthandler's: it has put ours back, and raises the signal once more.  The instruction faults again behind it.
 */
static bool is_handed_back(const siginfo_t *info)
{
    return running_native && info->si_code == SI_TKILL && info->si_pid == getpid();
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    if (is_handed_back(info))
        return;
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    uint64_t place = (uint64_t)regs[REG_RIP] - (uint64_t)area, pc;
    struct native *n = running_native;
    struct code *code = running_code;
    if (!n || !code || place >= AREA_BYTES || !find_site(code, (uint32_t)place, &pc)) {
        pass_on(number, info, context);
        return;
    }
    n->frame.c.pc = pc;
    n->frame.fault_at = (uint64_t)info->si_addr;
    n->frame.fault_stores = regs[REG_ERR] & ERROR_WRITE;
    n->frame.reason = LEFT_FAULT;
    regs[REG_RIP] = (greg_t)(area + code->leave);
}

bool fault_handler_ready(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    for (unsigned i = 0; i < SIGNALS; i++) {
        struct sigaction now, ours = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
        sigemptyset(&ours.sa_mask);
        if (sigaction(signals[i], NULL, &now))
            return false;
        if (now.sa_flags & SA_SIGINFO && now.sa_sigaction == on_fault)
            continue;
        pthread_mutex_lock(&lock);
        previous[i] = now;
        bool refused = sigaction(signals[i], &ours, NULL);
        pthread_mutex_unlock(&lock);
        if (refused)
            return false;
    }
    return true;
}

static void set_gs(void *base)
{
    static int by_instruction = -1;
    if (by_instruction < 0)
        by_instruction = (getauxval(AT_HWCAP2) & HWCAP2_WRGSBASE) != 0;
    if (by_instruction)
        __asm__ volatile("wrgsbase %0" : : "r"(base));
    else
        syscall(SYS_arch_prctl, ARCH_SET_GS_BASE, base);
}

void fault_enter(struct native *n, struct window *w, struct code *code, uint64_t entry)
{
    void (*enter)(struct frame *, uint64_t) = (void (*)(struct frame *, uint64_t))(area + code->enter);
    set_gs(w->base);
    running_code = code;
    running_native = n;
    enter(&n->frame, entry);
    running_native = NULL;
}
