/*
 * What a system costs its programs: ns per call, switch, fault and process.
 *
 *     guest            all that
 *     guest SECONDS    how late the timer is in an idle system
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "penglai-enclave.h"

#define PAGES 2000
#define PROCESSES 9

static long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void system_calls(int count)
{
    for (int i = 0; i < count; i++)
        syscall(SYS_getppid);
}

static void page_faults(int count)
{
    for (int i = 0; i < count / PAGES; i++) {
        char *memory = mmap(NULL, PAGES * 4096L, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        for (int page = 0; page < PAGES; page++)
            memory[page * 4096L] = 1;
        munmap(memory, PAGES * 4096L);
    }
}

static void switches(int count)
{
    int there[2], back[2];
    char byte = 0;
    if (pipe(there) || pipe(back))
        exit(1);
    if (fork() == 0) {
        for (int i = 0; i < count / 2; i++)
            if (read(there[0], &byte, 1) != 1 || write(back[1], &byte, 1) != 1)
                _exit(1);
        _exit(0);
    }
    for (int i = 0; i < count / 2; i++)
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
            exit(1);
    wait(NULL);
}

static void processes(int count)
{
    for (int i = 0; i < count; i++) {
        if (fork() == 0)
            _exit(0);
        wait(NULL);
    }
}

static long best_of_five(void (*work)(int), int count)
{
    long best = 0;
    for (int round = 0; round < 5; round++) {
        long begun = now(), taken;
        work(count);
        taken = now() - begun;
        best = !best || taken < best ? taken : best;
    }
    return best / count;
}

static void measure(const char *name, void (*work)(int), int count)
{
    printf("%s: %ld\n", name, best_of_five(work, count));
}

static int longer(const void *a, const void *b)
{
    return *(const long *)a > *(const long *)b ? 1 : -1;
}

/*
 * In so many processes that live at once, one after the other; the median.  Where the kernel has their stacks and
 * records decides whether these share places in caches, and in an emulator's TLB.
 */
static void measure_in_processes(const char *name, void (*work)(int), int count)
{
    long times[PROCESSES];
    int go[PROCESSES][2], back[2];
    char byte = 0;
    if (pipe(back))
        exit(1);
    for (int i = 0; i < PROCESSES; i++) {
        if (pipe(go[i]))
            exit(1);
        if (fork() == 0) {
            for (int other = 0; other <= i; other++)
                close(go[other][1]);
            while (read(go[i][0], &byte, 1) == 1) {
                long taken = best_of_five(work, count);
                if (write(back[1], &taken, sizeof taken) != sizeof taken)
                    _exit(1);
            }
            _exit(0);
        }
    }
    for (int i = 0; i < PROCESSES; i++)
        if (write(go[i][1], &byte, 1) != 1 || read(back[0], &times[i], sizeof times[i]) != sizeof times[i])
            exit(1);
    for (int i = 0; i < PROCESSES; i++)
        close(go[i][1]);
    while (wait(NULL) > 0)
        ;
    qsort(times, PROCESSES, sizeof *times, longer);
    printf("%s: %ld\n", name, times[PROCESSES / 2]);
}

/* ---- penglai.ko, where it is ---- */

static struct PLenclave enclave;

static void refusals(int count)
{
    for (int i = 0; i < count; i++)
        PLenclave_stop(&enclave); /* it has not been started: the monitor refuses */
}

static void lives(int count)
{
    struct enclave_args args;
    struct elf_args elf;
    for (int i = 0; i < count; i++) {
        struct PLenclave own;
        enclave_args_init(&args);
        elf_args_init(&elf, "/quick");
        PLenclave_init(&own);
        if (PLenclave_create(&own, &elf, &args) || PLenclave_run(&own))
            exit(1);
        PLenclave_destruct(&own);
        elf_args_destroy(&elf);
    }
}

static void driver(void)
{
    struct enclave_args args;
    struct elf_args elf;
    enclave_args_init(&args);
    elf_args_init(&elf, "/quick");
    PLenclave_init(&enclave);
    if (PLenclave_create(&enclave, &elf, &args))
        exit(1);
    measure("ioctl to the monitor and back (stop, refused)", refusals, 5000);
    PLenclave_destruct(&enclave);
    measure("enclave (create, run to its end)", lives, 100);
}

/* ---- the timer ---- */

/* Wakes every 10 ms; how often, and how late at most. */
static void ticks(long seconds)
{
    const long period = 10000000;
    long late = 0, worst = 0, begun = now(), due = begun;
    long count = seconds * 1000000000L / period;
    for (long i = 0; i < count; i++) {
        due += period;
        struct timespec time = {due / 1000000000L, due % 1000000000L};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
        long lateness = now() - due;
        late += lateness > period;
        worst = lateness > worst ? lateness : worst;
    }
    printf("timer ticks: %ld\ntimer ticks late by more than a period: %ld\nworst lateness: %ld\n", count,
           late, worst);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 1) {
        ticks(atol(argv[1]));
        return 0;
    }
    measure_in_processes("system call (getppid)", system_calls, 50000);
    measure("page fault", page_faults, 20000);
    measure("context switch (pipe)", switches, 10000);
    measure("process (fork, exit, wait)", processes, 300);
    if (!access("/dev/penglai_enclave_dev", F_OK))
        driver();
    return 0;
}
