/* What a program asks about itself and its machine. */
#include <limits.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include "linux.h"

#define RANDOM_MOST (1UL << 25)
#define MEMORY (1UL << 30) /* what a program is told that there is, if its image says nothing */
#define STACK (8UL << 20)
#define TURN_NS 10000000UL
#define SYSINFO_BYTES 112 /* as the kernel writes it; the C library has room for more, glibc has not */

/* ---- words for whoever reads the enclave's output ---- */

void complain(const char *text)
{
    static const char start[] = "penglai: ";
    monitor_write(start, sizeof start - 1);
    monitor_write(text, strlen(text));
    monitor_write("\n", 1);
}

void complain_once(const char *text)
{
    static const char *said;
    if (said != text)
        complain(said = text);
}

/* ---- the machine ---- */

void system_memory(word *total, word *free)
{
    word used = memory_resident(), most = ((const struct linux_image *)LINUX_IMAGE)->memory_limit;
    *total = most ? most : MEMORY;
    *free = *total > used ? *total - used : 0;
}

static void set(char *field, const char *text)
{
    memcpy(field, text, strlen(text) + 1);
}

long call_uname(word out)
{
    if (memory_reach(out, sizeof(struct utsname), 1))
        return -EFAULT;
    struct utsname *name = memset((void *)out, 0, sizeof *name);
    set(name->sysname, "Linux");
    set(name->nodename, "enclave");
    set(name->release, "6.1.0");
    set(name->version, "#1 Penglai");
    set(name->machine, "riscv64");
    return 0;
}

long call_sysinfo(word out)
{
    word total, free;
    if (memory_reach(out, SYSINFO_BYTES, 1))
        return -EFAULT;
    system_memory(&total, &free);
    struct sysinfo info = {.uptime = ticks_ns() / NS_PER_S,
                           .totalram = total,
                           .freeram = free,
                           .procs = (unsigned short)threads_count(),
                           .mem_unit = 1};
    memcpy((void *)out, &info, SYSINFO_BYTES);
    return 0;
}

long call_getcpu(word cpu, word node)
{
    if ((cpu && memory_reach(cpu, sizeof(int), 1)) || (node && memory_reach(node, sizeof(int), 1)))
        return -EFAULT;
    if (cpu)
        *(int *)cpu = 0;
    if (node)
        *(int *)node = 0;
    return 0;
}

long call_getrandom(word buffer, word size, word flags)
{
    if (flags > 7)
        return -EINVAL;
    size = size < RANDOM_MOST ? size : RANDOM_MOST;
    if (memory_reach(buffer, size, 1))
        return -EFAULT;
    return monitor_random((void *)buffer, size) ? (long)size : -EIO;
}

/* ---- the process: it is alone, and root ---- */

#define WAIT_FLAGS (WNOHANG | WUNTRACED | WCONTINUED | __WNOTHREAD | __WALL | __WCLONE)

long call_wait4(word process, word options)
{
    if (options & ~(word)WAIT_FLAGS)
        return -EINVAL;
    return (int)process == INT_MIN ? -ESRCH : -ECHILD;
}

long call_exit_group(word value)
{
    network_end();
    monitor_end(value & 0xff);
}

/* ---- limits and use ---- */

static struct rlimit limit_of(word which)
{
    if (which == RLIMIT_STACK)
        return (struct rlimit){STACK, STACK};
    if (which == RLIMIT_NOFILE)
        return (struct rlimit){DESCRIPTORS, DESCRIPTORS};
    if (which == RLIMIT_CORE)
        return (struct rlimit){0, 0};
    return (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
}

static long set_limit(word which, word new)
{
    struct rlimit wanted, has = limit_of(which);
    if (!new)
        return 0;
    if (memory_reach(new, sizeof wanted, 0))
        return -EFAULT;
    wanted = *(const struct rlimit *)new;
    return wanted.rlim_cur > wanted.rlim_max ? -EINVAL : wanted.rlim_max > has.rlim_max ? -EPERM : 0;
}

long call_prlimit(word process, word which, word new, word old)
{
    if (which >= RLIM_NLIMITS)
        return -EINVAL;
    if (if_own(process, 0))
        return -ESRCH;
    if (old && memory_reach(old, sizeof(struct rlimit), 1))
        return -EFAULT;
    long error = set_limit(which, new);
    if (!error && old)
        *(struct rlimit *)old = limit_of(which);
    return error;
}

long call_getrlimit(word which, word old)
{
    return old ? call_prlimit(0, which, 0, old) : -EFAULT;
}

long call_setrlimit(word which, word new)
{
    return new ? call_prlimit(0, which, new, 0) : -EFAULT;
}

long call_getrusage(word who, word out)
{
    if ((int)who > RUSAGE_THREAD || (int)who < RUSAGE_CHILDREN)
        return -EINVAL;
    if (memory_reach(out, sizeof(struct rusage) - sizeof(long[16]), 1))
        return -EFAULT;
    long *words = memset((void *)out, 0, 144); /* what the kernel writes; musl's structure is larger */
    if ((int)who != RUSAGE_CHILDREN) {
        write_time(out, ticks_ns(), 1000);
        words[4] = (long)(memory_resident() / 1024);
    }
    return 0;
}

/* ---- scheduling: there is one hart, and threads take turns ---- */

long call_sched_yield(void)
{
    return current->again ? 0 : threads_count() > 1 ? wait_for(SLEEPS, wait_until(0)) : (monitor_yield(), 0);
}

static int is_thread(word id)
{
    return (int)id == 0 || thread_of((int)id) != NULL;
}

long call_sched_getaffinity(word id, word size, word out)
{
    if (size < sizeof(word) || size % sizeof(word))
        return -EINVAL;
    if (!is_thread(id))
        return -ESRCH;
    if (memory_reach(out, sizeof(word), 1))
        return -EFAULT;
    *(word *)out = 1;
    return sizeof(word);
}

long call_sched_setaffinity(word id, word size, word in)
{
    word wanted = 0;
    if (!is_thread(id))
        return -ESRCH;
    if (memory_reach(in, size < 8 ? size : 8, 0))
        return -EFAULT;
    memcpy(&wanted, (const void *)in, size < 8 ? size : 8);
    return wanted & 1 ? 0 : -EINVAL;
}

#define SCHED_RESETS 0x40000000 /* a flag of a policy */

static int is_real_time(int policy)
{
    return policy == SCHED_FIFO || policy == SCHED_RR;
}

static int is_shared(int policy)
{
    return policy == SCHED_OTHER || policy == SCHED_BATCH || policy == SCHED_IDLE;
}

long call_sched_getscheduler(word id)
{
    return (int)id < 0 ? -EINVAL : is_thread(id) ? SCHED_OTHER : -ESRCH;
}

/* Of a policy that is not real time: how long a turn is. */
long call_sched_interval(word id, word out)
{
    if ((int)id < 0)
        return -EINVAL;
    return is_thread(id) ? write_time(out, TURN_NS, 1) : -ESRCH;
}

long call_sched_getparam(word id, word out)
{
    if (!out || (int)id < 0)
        return -EINVAL;
    if (!is_thread(id))
        return -ESRCH;
    if (memory_reach(out, sizeof(int), 1))
        return -EFAULT;
    *(int *)out = 0;
    return 0;
}

/* Threads have priority 0, that of policies that are not real time, and no other. */
static long check_policy(word id, int policy, word in)
{
    if (!in || (int)id < 0)
        return -EINVAL;
    if (memory_reach(in, sizeof(int), 0))
        return -EFAULT;
    if (!is_thread(id))
        return -ESRCH;
    int priority = *(const int *)in;
    if (is_real_time(policy))
        return priority < 1 || priority > 99 ? -EINVAL : -EPERM;
    return !is_shared(policy) || priority ? -EINVAL : 0;
}

long call_sched_setparam(word id, word in)
{
    return check_policy(id, SCHED_OTHER, in);
}

long call_sched_setscheduler(word id, word policy, word in)
{
    return (int)policy < 0 ? -EINVAL : check_policy(id, (int)policy & ~SCHED_RESETS, in);
}

/* most: for real time, the highest priority, and not the lowest. */
long call_sched_priority(word policy, int most)
{
    if (is_real_time((int)policy))
        return most ? 99 : 1;
    return is_shared((int)policy) || (int)policy == SCHED_DEADLINE ? 0 : -EINVAL;
}

/* ---- prctl ---- */

long call_prctl(word option, word argument)
{
    switch (option) {
    case PR_SET_NAME: {
        char name[16] = {0};
        for (int i = 0; i < 15; i++) {
            if (memory_reach(argument + (word)i, 1, 0))
                return -EFAULT;
            if (!(name[i] = ((const char *)argument)[i]))
                break;
        }
        memcpy(current->name, name, sizeof name);
        return 0;
    }
    case PR_GET_NAME:
        if (memory_reach(argument, sizeof current->name, 1))
            return -EFAULT;
        memcpy((void *)argument, current->name, sizeof current->name);
        return 0;
    case PR_SET_PDEATHSIG:
    case PR_SET_DUMPABLE:
    case PR_SET_NO_NEW_PRIVS:
    case PR_SET_TIMERSLACK:
        return 0;
    case PR_GET_DUMPABLE:
    case PR_GET_NO_NEW_PRIVS:
        return 1;
    case PR_CAPBSET_READ:
        return argument > 40 ? -EINVAL : 1;
    default:
        return -EINVAL;
    }
}

long call_set_robust_list(word head, word size)
{
    (void)head;
    return size == 24 ? 0 : -EINVAL;
}

/* As linux/membarrier.h has them: one bit for a command.  An expedited one is asked for beforehand. */
#define BARRIER_GLOBAL 1
#define BARRIER_GLOBAL_EXPEDITED 2
#define BARRIER_ASK_GLOBAL 4
#define BARRIER_PRIVATE 8
#define BARRIER_ASK_PRIVATE 16

/* Threads take turns on one hart: each sees what the others have written. */
long call_membarrier(word command, word flags)
{
    static int asked;
    if ((unsigned)flags)
        return -EINVAL;
    switch ((int)command) {
    case 0: /* which commands are there? */
        return BARRIER_GLOBAL | BARRIER_GLOBAL_EXPEDITED | BARRIER_ASK_GLOBAL | BARRIER_PRIVATE |
               BARRIER_ASK_PRIVATE;
    case BARRIER_ASK_PRIVATE:
        asked = 1;
        return 0;
    case BARRIER_PRIVATE:
        return asked ? 0 : -EPERM;
    case BARRIER_GLOBAL:
    case BARRIER_GLOBAL_EXPEDITED:
    case BARRIER_ASK_GLOBAL:
        return 0;
    default:
        return -EINVAL;
    }
}

long call_process(void)
{
    complain_once("a program inside an enclave cannot make processes: fork, vfork and exec fail");
    return -ENOSYS;
}

long call_refused_permission(void)
{
    return -EPERM;
}
