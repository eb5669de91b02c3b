/*
 * The system calls of the C library, answered inside the enclave.
 *
 * The monitor sends each here by the handler of entry.S.  Nothing here, nor anything that it calls, may make
 * a system call itself or use a floating-point register.  What is not answered is -ENOSYS.
 */
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include "runtime.h"

#define OWN_PROCESS 1
#define RANDOM_PIECE (1UL << 20)
#define ORDINARY_PRIORITY 20 /* nice 0, as the kernel says it */
#define NS_PER_S 1000000000UL
#define MEMORY (64UL << 20)

long eapp_get_random(char *buffer, size_t size)
{
#ifdef EAPP_PORTABLE
    (void)buffer;
    (void)size;
    return -ENOSYS; /* the original's are the same at each boot */
#else
    for (size_t done = 0; done < size; done += RANDOM_PIECE)
        if (eapp_random(buffer + done, size - done < RANDOM_PIECE ? size - done : RANDOM_PIECE))
            return -EFAULT;
    return (long)size;
#endif
}

static long describe(struct utsname *name)
{
    *name = (struct utsname){
        .sysname = "Penglai", .nodename = "enclave", .release = "1", .version = "1", .machine = "riscv64"};
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

/* How much memory the host can give nobody knows: a modest number, for programs that choose sizes by it. */
static long describe_memory(struct sysinfo *info)
{
    info->uptime = eapp_monotonic() / NS_PER_S;
    memset(info->loads, 0, sizeof info->loads);
    info->totalram = info->freeram = MEMORY;
    info->sharedram = info->bufferram = info->totalswap = info->freeswap = 0;
    info->procs = 1;
    info->totalhigh = info->freehigh = 0;
    info->mem_unit = 1;
    return 0;
}

static long get_directory(char *path, size_t size)
{
    if (size < sizeof "/")
        return -ERANGE;
    memcpy(path, "/", sizeof "/");
    return sizeof "/";
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
        return eapp_get_random((char *)a, (size_t)b);
    case SYS_getpid:
    case SYS_gettid:
    case SYS_getpgid:
    case SYS_getsid:
    case SYS_set_tid_address:
        return OWN_PROCESS;
    case SYS_getpriority:
        return ORDINARY_PRIORITY;
    case SYS_sysinfo:
        return describe_memory((struct sysinfo *)a);
    case SYS_getcwd:
        return get_directory((char *)a, (size_t)b);
    case SYS_getppid:
    case SYS_getuid:
    case SYS_geteuid:
    case SYS_getgid:
    case SYS_getegid:
    case SYS_umask:
    case SYS_set_robust_list:
    case SYS_setpriority:
        return 0;
    case SYS_rt_sigaction:
    case SYS_rt_sigprocmask:
    case SYS_rt_sigpending:
    case SYS_kill:
    case SYS_tkill:
    case SYS_tgkill:
        return eapp_signal_call(number, a, b, c, d);
    case SYS_sched_yield:
    case SYS_futex: /* nobody else is there to wait for */
        eapp_yield();
        return 0;
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
    case SYS_times:
    case SYS_getrusage:
    case SYS_nanosleep:
    case SYS_clock_nanosleep:
        return eapp_time_call(number, a, b, c, d);
    case SYS_ppoll:
    case SYS_pselect6:
        return eapp_poll_call(number, a, b, c, d, e);
    default:
        return eapp_file_call(number, a, b, c, d);
    }
}
