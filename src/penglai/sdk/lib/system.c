/*
 * The system calls of the C library, answered inside the enclave.
 *
 * The monitor sends each here by the handler of entry.S.  Nothing here, nor anything that it calls, may make
 * a system call itself or use a floating-point register.  What is not answered is -ENOSYS.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include "runtime.h"

#define OWN_PROCESS 1
#define RANDOM_PIECE (1UL << 20)
#define SIGNAL_RESULT 128

static long get_random(char *buffer, size_t size)
{
    for (size_t done = 0; done < size; done += RANDOM_PIECE)
        if (eapp_random(buffer + done, size - done < RANDOM_PIECE ? size - done : RANDOM_PIECE))
            return -EFAULT;
    return (long)size;
}

static long describe(struct utsname *name)
{
    *name = (struct utsname){.sysname = "Penglai", .nodename = "enclave", .release = "1", .version = "1",
                             .machine = "riscv64"};
    return 0;
}

static long limits(struct rlimit *old)
{
    if (old)
        old->rlim_cur = old->rlim_max = RLIM_INFINITY;
    return 0;
}

static long processors(size_t size, unsigned long *mask)
{
    if (size < sizeof *mask)
        return -EINVAL;
    *mask = 1;
    return sizeof *mask;
}

/* A signal that is raised ends the enclave: no handler could be called that makes system calls. */
static long raise_signal(long process, long signal)
{
    if (process != OWN_PROCESS)
        return -ESRCH;
    if (signal)
        eapp_end(SIGNAL_RESULT + (unsigned long)signal);
    return 0;
}

static long end(long code)
{
    eapp_end(eapp_has_value ? eapp_value : (unsigned long)code);
}

hidden long eapp_system_call(long a, long b, long c, long d, long e, long f, long number)
{
    (void)f;
    switch (number) {
    case SYS_exit:
    case SYS_exit_group:
        return end(a);
    case SYS_getrandom:
        return get_random((char *)a, (size_t)b);
    case SYS_getpid:
    case SYS_gettid:
    case SYS_set_tid_address:
        return OWN_PROCESS;
    case SYS_getppid:
    case SYS_getuid:
    case SYS_geteuid:
    case SYS_getgid:
    case SYS_getegid:
    case SYS_umask:
    case SYS_set_robust_list:
    case SYS_rt_sigaction:
    case SYS_rt_sigprocmask:
        return 0;
    case SYS_sched_yield:
    case SYS_futex: /* nobody else is there to wait for */
        eapp_yield();
        return 0;
    case SYS_kill:
    case SYS_tkill:
        return raise_signal(a, b);
    case SYS_tgkill:
        return raise_signal(b, c);
    case SYS_sched_getaffinity:
        return processors((size_t)b, (unsigned long *)c);
    case SYS_uname:
        return describe((struct utsname *)a);
    case SYS_getrlimit:
        return limits((struct rlimit *)b);
    case SYS_prlimit64:
        return limits((struct rlimit *)d);
    case SYS_brk:
    case SYS_mmap:
    case SYS_munmap:
    case SYS_mremap:
    case SYS_mprotect:
    case SYS_madvise:
        return eapp_memory_call(number, a, b, c, d, e);
    case SYS_clock_gettime:
    case SYS_clock_getres:
    case SYS_gettimeofday:
    case SYS_nanosleep:
    case SYS_clock_nanosleep:
        return eapp_time_call(number, a, b, c, d);
    default:
        return eapp_file_call(number, a, b, c, d);
    }
}
