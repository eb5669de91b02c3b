/* What a process is: numbers, signals, times, memory, threads. */
#include "cases.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>

static volatile int hits, last;
static sigjmp_buf back;

static void count_it(int number)
{
    hits++;
    last = number;
}

static void tell(int number, siginfo_t *info, void *more)
{
    (void)more;
    hits++;
    last = number;
    printf("  signal %d, code %d, value %d\n", number, info->si_code,
           info->si_code == SI_QUEUE ? info->si_value.sival_int : 0);
}

static void jump(int number)
{
    siglongjmp(back, number);
}

static void numbers(void)
{
    unsigned groups[4] = {5, 6, 7, 8};
    T(getpid() == (pid_t)syscall(SYS_gettid));
    T(getpgid(getpid()) == getpgrp());
    T(getpgid(12345678));
    T(getsid(12345678));
    T(geteuid());
    T(setuid(0));
    T(setgid(0));
    T(setreuid(-1, -1));
    T(setresuid(0, 0, 0));
    T(setgroups(3, groups));
    T(getgroups(0, groups));
    T(getgroups(2, groups));
    T(getgroups(4, groups));
    SHOW(groups[2]);
    T(getgroups(-1, groups));
    T(setgroups(100000, groups));
    T(setgroups(0, NULL));
    T(getpriority(PRIO_PROCESS, 0) < 20);
    T(getpriority(77, 0));
    T(waitpid(-1, NULL, 0));
    T(waitpid(12345, NULL, WNOHANG));
    T(waitpid(-1, NULL, 0x1234));
    struct utsname name;
    T(uname(&name));
    SHOW(strcmp(name.sysname, "Linux"));
    T(uname(NOWHERE));
    T(prctl(PR_SET_NAME, "a long name of a thread"));
    char text[16];
    T(prctl(PR_GET_NAME, text));
    SHOW(strcmp(text, "a long name of "));
    T(prctl(PR_SET_NAME, NOWHERE));
    T(prctl(123456));
    T(prctl(PR_GET_DUMPABLE));
    struct rlimit limit;
    T(getrlimit(RLIMIT_NOFILE, &limit));
    T(getrlimit(99, &limit));
    T(getrlimit(RLIMIT_STACK, NOWHERE));
    T(setrlimit(99, &limit));
    struct rusage usage;
    T(getrusage(RUSAGE_SELF, &usage));
    T(getrusage(99, &usage));
    T(sched_yield());
    T(sched_getscheduler(0));
    T(sched_getscheduler(-1));
    T(syscall(SYS_sched_getscheduler, 0));
    T(syscall(SYS_sched_getscheduler, 12345678));
    T(sched_get_priority_max(SCHED_FIFO));
    T(sched_get_priority_min(SCHED_FIFO));
    T(sched_get_priority_max(SCHED_OTHER));
    T(sched_get_priority_max(99));
    struct timespec interval;
    T(sched_rr_get_interval(0, &interval));
    T(sched_rr_get_interval(-1, &interval));
    T(sched_rr_get_interval(12345678, &interval));
    cpu_set_t set;
    T(sched_getaffinity(0, sizeof set, &set));
    T(sched_getaffinity(12345678, sizeof set, &set));
    T(syscall(SYS_sched_getaffinity, 0, 3, &set));
    T(syscall(SYS_getcpu, NULL, NULL, NULL));
    T(syscall(SYS_membarrier, 12345, 0));
    T(syscall(9999));
}

static void signals(void)
{
    struct sigaction action = {.sa_handler = count_it}, old;
    sigset_t set, was;
    T(sigaction(SIGUSR1, &action, &old));
    SHOW(old.sa_handler == SIG_DFL);
    T(sigaction(SIGUSR1, NULL, &old));
    SHOW(old.sa_handler == count_it);
    T(sigaction(SIGKILL, &action, NULL));
    T(sigaction(SIGSTOP, &action, NULL));
    T(sigaction(0, &action, NULL));
    T(sigaction(100, &action, NULL));
    T(syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 4));
    T(syscall(SYS_rt_sigaction, SIGUSR1, NOWHERE, NULL, 8));
    T(kill(getpid(), 0));
    T(kill(getpid(), 99));
    T(kill(12345678, 0));
    T(kill(getpid(), SIGUSR1));
    SHOW(hits);
    T(raise(SIGUSR1));
    SHOW(hits);
    T(syscall(SYS_tgkill, getpid(), 12345678, 0));
    T(syscall(SYS_tgkill, getpid(), -1, 0));
    T(syscall(SYS_tkill, 0, 0));
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGKILL);
    T(sigprocmask(SIG_BLOCK, &set, &was));
    T(sigprocmask(99, &set, NULL));
    T(sigprocmask(99, NULL, &was));
    SHOW(sigismember(&was, SIGUSR1));
    SHOW(sigismember(&was, SIGKILL));
    T(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, NULL, 16));
    T(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NOWHERE, NULL, 8));
    hits = 0;
    T(raise(SIGUSR1));
    SHOW(hits);
    T(sigpending(&was));
    SHOW(sigismember(&was, SIGUSR1));
    struct timespec none = {0, 0}, odd = {0, -1};
    siginfo_t info;
    T(sigtimedwait(&set, &info, &none));
    SHOW(info.si_signo);
    T(sigtimedwait(&set, &info, &none));
    T(sigtimedwait(&set, &info, &odd));
    T(raise(SIGUSR1));
    sigemptyset(&was);
    T(sigsuspend(&was));
    SHOW(hits);
    action = (struct sigaction){.sa_sigaction = tell, .sa_flags = SA_SIGINFO | SA_RESETHAND};
    T(sigaction(SIGUSR2, &action, NULL));
    T(sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 77}));
    T(sigaction(SIGUSR2, NULL, &old));
    SHOW(old.sa_handler == SIG_DFL);
    T(sigaction(SIGUSR2, &action, NULL));
    T(kill(getpid(), SIGUSR2));
    signal(SIGSEGV, jump);
    if (!sigsetjmp(back, 1))
        *(volatile char *)NOWHERE = 1;
    else
        puts("SIGSEGV");
    signal(SIGFPE, jump);
    if (!sigsetjmp(back, 1))
        raise(SIGFPE);
    else
        puts("SIGFPE");
    signal(SIGSEGV, SIG_DFL);
    stack_t stack = {.ss_sp = malloc(SIGSTKSZ), .ss_size = SIGSTKSZ}, before;
    T(sigaltstack(&stack, &before));
    SHOW(before.ss_flags == SS_DISABLE);
    stack.ss_size = 100;
    T(sigaltstack(&stack, NULL));
    stack.ss_flags = 99;
    T(sigaltstack(&stack, NULL));
    T(syscall(SYS_sigaltstack, NOWHERE, NULL));
    T(signal(SIGCHLD, SIG_IGN) == SIG_DFL);
    T(raise(SIGCHLD));
    T(raise(SIGWINCH));
}

static void interrupted(void)
{
    struct sigaction action = {.sa_handler = count_it};
    struct itimerval soon = {{0, 20000}, {0, 20000}}, left,
                     none = {{0, 0}, {0, 0}}; /* again, should it come too soon */
    struct timespec long_time = {1000, 0}, rest = {0, 0};
    static char text[200000];
    int ends[2];
    char byte;
    sigaction(SIGALRM, &action, NULL);
    pipe(ends);
    T(setitimer(ITIMER_REAL, &soon, NULL));
    T(read(ends[0], &byte, 1));
    T(setitimer(ITIMER_REAL, &soon, &left));
    SHOW(left.it_value.tv_sec);
    T(nanosleep(&long_time, &rest));
    SHOW(rest.tv_sec > 900);
    T(setitimer(ITIMER_REAL, &soon, NULL));
    T(write(ends[1], text, sizeof text));
    T(setitimer(ITIMER_REAL, &soon, NULL));
    T(write(ends[1], text, 1));
    T(setitimer(ITIMER_REAL, &none, NULL));
    T(setitimer(99, &soon, NULL));
    T(getitimer(99, &soon));
    soon.it_value.tv_usec = 2000000;
    T(setitimer(ITIMER_REAL, &soon, NULL));
    T(alarm(100));
    T(alarm(0) > 90);
}

static void times_and_clocks(void)
{
    struct timespec time, odd = {0, 2000000000}, none = {0, 0};
    struct timeval day;
    struct tms used;
    T(clock_gettime(CLOCK_MONOTONIC, &time));
    T(clock_gettime(12345, &time));
    T(clock_gettime(CLOCK_REALTIME, &time));
    SHOW(time.tv_sec > 1600000000);
    T(clock_getres(CLOCK_MONOTONIC, &time));
    T(clock_getres(12345, &time));
    T(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, NOWHERE));
    T(gettimeofday(&day, NULL));
    T(nanosleep(&none, NULL));
    T(nanosleep(&odd, NULL));
    T(syscall(SYS_nanosleep, NOWHERE, NULL));
    T(clock_nanosleep(CLOCK_MONOTONIC, 0, &none, NULL));
    T(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &none, NULL));
    T(clock_nanosleep(12345, 0, &none, NULL));
    T(clock_nanosleep(CLOCK_MONOTONIC, 0, &odd, NULL));
    T(times(&used) > 0);
}

static void memory(void)
{
    char *piece = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int file = open("map", O_RDWR | O_CREAT | O_TRUNC, 0600), reads = open("map", O_RDONLY);
    unsigned char vector[4];
    write(file, "content", 7);
    T(piece != MAP_FAILED);
    SHOW(piece[5]);
    T(munmap(piece + 4096, 4096));
    T(mincore(piece, 4096, vector));
    T(mincore(piece, 16384, vector));
    T(mincore(piece + 1, 4096, vector));
    T(munmap(piece + 1, 4096));
    T(munmap(piece, 0));
    T(write(file, piece + 4096, 1));
    T(mprotect(piece, 4096, PROT_READ));
    T(mprotect(piece + 4096, 4096, PROT_READ));
    T(mprotect(piece + 1, 4096, PROT_READ));
    T(mprotect(piece, 4096, PROT_READ | PROT_WRITE));
    T(msync(piece, 4096, MS_SYNC));
    T(msync(piece, 4096, MS_SYNC | MS_ASYNC));
    T(msync(piece + 4096, 4096, MS_SYNC));
    T(msync(piece + 1, 4096, MS_SYNC));
    piece[8192] = 7;
    T(madvise(piece + 8192, 4096, MADV_DONTNEED));
    SHOW(piece[8192]);
    T(madvise(piece + 8193, 4096, MADV_DONTNEED));
    T(madvise(piece, 4096, 12345));
    T(madvise(piece + 4096, 4096, MADV_DONTNEED));
    T(mlock(piece, 4096));
    T(munlock(piece, 4096));
    T((long)mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    T((long)mmap(NULL, 4096, PROT_READ, MAP_ANONYMOUS, -1, 0));
    T((long)mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, -1, 0));
    T((long)mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, file, 5));
    T((long)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, reads, 0));
    T((long)mmap(piece + 1, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    T((long)mmap(piece, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
    T(mmap(piece + 4096, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
      piece + 4096);
    char *content = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    SHOW(content[3]);
    SHOW(content[100]);
    content[0] = 'X';
    char byte;
    T(pread(reads, &byte, 1, 0));
    SHOW(byte);
    char *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    shared[0] = 'Y';
    T(pread(reads, &byte, 1, 0));
    SHOW(byte);
    T(pwrite(file, "Z", 1, 1));
    SHOW(shared[1]);
    char *moved = mremap(content, 4096, 8192, MREMAP_MAYMOVE);
    T(moved != MAP_FAILED);
    SHOW(moved[0]);
    T(mremap(moved, 8192, 4096, 0) == moved);
    T((long)mremap(moved + 1, 4096, 4096, 0));
    T((long)mremap(moved, 4096, 0, 0));
    T((long)mremap(moved, 4096, 8192, 0x1000));
    T(munmap(moved, 4096));
    T((long)mremap(moved, 4096, 8192, MREMAP_MAYMOVE));
    T(brk(sbrk(0)) == 0 || errno == ENOMEM);
    struct iovec none = {NOWHERE, 5};
    T(writev(file, &none, 1));
    T(close(file));
}

static void *other_thread(void *given)
{
    pthread_mutex_lock(given);
    pthread_mutex_unlock(given);
    pthread_exit((void *)5);
}

static void threads(void)
{
    static unsigned word = 3;
    struct timespec soon = {0, 1000000};
    T(syscall(SYS_futex, &word, FUTEX_WAIT, 4, NULL));
    T(syscall(SYS_futex, &word, FUTEX_WAIT, 3, &soon));
    T(syscall(SYS_futex, &word, FUTEX_WAKE, 1));
    T(syscall(SYS_futex, (char *)&word + 1, FUTEX_WAKE, 1));
    T(syscall(SYS_futex, NOWHERE, FUTEX_WAIT, 4, NULL));
    T(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, 3, &soon, NULL, 0));
    T(syscall(SYS_futex, &word, FUTEX_CMP_REQUEUE, 1, 1, &word, 77));
    T(syscall(SYS_futex, &word, 99, 1));
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_t thread;
    void *result;
    T(pthread_mutex_lock(&mutex));
    T(pthread_mutex_trylock(&mutex));
    T(pthread_create(&thread, NULL, other_thread, &mutex));
    T(pthread_mutex_unlock(&mutex));
    T(pthread_join(thread, &result));
    SHOW(result);
    T(syscall(SYS_set_robust_list, NOWHERE, 3));
    T(syscall(SYS_set_tid_address, &word) > 0);
}

int main(int count, char **given)
{
    if (count > 1 && chdir(given[1]))
        return 1;
    numbers();
    signals();
    interrupted();
    times_and_clocks();
    memory();
    threads();
    return 0;
}
