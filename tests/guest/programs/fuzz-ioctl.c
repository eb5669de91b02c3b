/*
 * A host program that has lost its mind: ioctls, mmaps, reads and writes of the device with structs, pointers and
 * eids of all kinds, from several processes and threads, while other threads change the structs and take their
 * pages away.  Nothing that it does may harm the kernel.
 *
 *     fuzz-ioctl SEED PROCESSES THREADS ROUNDS ENCLAVE...
 *
 * The same seed makes the same choices; what the threads do to each other is up to the scheduler.
 */
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/wait.h>
#include "device.h"

#define SHMDT 0x8018a412
#define RELAY_DT 0x8018a416
#define PERSISTENCY 0x8004a418
#define DEBUG_PRINT 0x4070a406
#define PAGE 4096UL
#define EIDS 64
#define THREADS 16
#define FILES 8
#define COUNT(array) (sizeof(array) / sizeof *(array))

/* clang-format off */
static const unsigned long requests[] = {
    CREATE, RUN,    ATTEST, STOP,     RESUME,   DESTROY,   DEBUG_PRINT, SHMGET,      SHMAT,
    SHMDT,  SHMCTL, RELAY_GET, RELAY_AT, RELAY_DT, RELAY_CTL, PERSISTENCY, CREATE ^ 1L << 16, 0,
};
static const unsigned long odd[] = {
    0,       1,          7,          8,          PAGE - 1,      PAGE,          PAGE + 1,      0x1000000,
    1L << 31, 1L << 32,  1L << 38,   1L << 39,   1L << 62,      1UL << 63,     ~0UL,          ~0UL - 7,
    0x80000000, 0x80200000, 0xffffffff80000000, 0xffffffd800000000, 0xffffffe000000000, 0x3ffffff000, 0x4000000000,
};
/* clang-format on */

/* What all processes share: eids of the others, how many calls were made and how many did something. */
static struct {
    volatile unsigned long eids[EIDS];
    unsigned long calls, done;
    volatile int ids[EIDS];
} *common;

struct file {
    unsigned char *data;
    size_t size;
};

static struct file files[FILES];
static int file_count, rounds;
static int other_device;
static volatile int working; /* threads of this process that have rounds left */
static unsigned char *stage; /* 8 pages that come and go; the page behind them is never there */
static __thread sigjmp_buf landing;
static __thread volatile sig_atomic_t flying;

static unsigned long any(unsigned *seed)
{
    return (unsigned long)rand_r(seed) << 33 ^ (unsigned long)rand_r(seed) << 11 ^
           (unsigned long)rand_r(seed);
}

static unsigned below(unsigned *seed, unsigned limit)
{
    return (unsigned)rand_r(seed) / 7 % limit;
}

static void crash(int number)
{
    if (!flying)
        _exit(3);
    (void)number;
    siglongjmp(landing, 1);
}

/* Does a few loads or stores where there may be nothing. */
static void touch(volatile unsigned char *where, size_t size, unsigned *seed)
{
    flying = 1;
    if (!sigsetjmp(landing, 1)) {
        for (size_t at = 0; at < size; at += PAGE) {
            if (below(seed, 2))
                where[at] = (unsigned char)at;
            else
                (void)where[at];
        }
    }
    flying = 0;
}

static unsigned long number(unsigned *seed)
{
    switch (below(seed, 4)) {
    case 0:
        return any(seed);
    case 1:
        return odd[below(seed, COUNT(odd))] + below(seed, 16);
    default:
        return odd[below(seed, COUNT(odd))];
    }
}

static unsigned long eid(unsigned *seed)
{
    unsigned long known = common->eids[below(seed, EIDS)];
    switch (below(seed, 16)) {
    case 0:
        return number(seed);
    case 1:
        return known | 1UL << (32 + below(seed, 32));
    case 2:
        return known + below(seed, 3) - 1;
    default:
        return known;
    }
}

static int id(unsigned *seed)
{
    return below(seed, 8) ? common->ids[below(seed, EIDS)] : (int)number(seed);
}

/* A pointer to where a struct may be: whole, cut off by the end of a page, or anywhere. */
static void *place(unsigned *seed)
{
    switch (below(seed, 8)) {
    case 0:
        return (void *)number(seed);
    case 1:
        return stage + 8 * PAGE - below(seed, 360);
    case 2:
        return stage + (1 + below(seed, 7)) * PAGE - below(seed, 360);
    case 3:
        return files[below(seed, (unsigned)file_count)].data;
    default:
        return stage + below(seed, 7) * PAGE + 8 * below(seed, 16);
    }
}

/* A copy of an enclave program in which a few bytes are others. */
static unsigned char *damaged(const struct file *file, unsigned *seed)
{
    unsigned char *copy = malloc(file->size);
    memcpy(copy, file->data, file->size);
    for (unsigned i = below(seed, 6); i; i--) {
        unsigned long value = number(seed);
        size_t at = below(seed, 2) ? below(seed, 400) : any(seed) % file->size;
        memcpy(copy + at, &value, at + 8 <= file->size ? 1UL << below(seed, 4) : 1);
    }
    return copy;
}

static struct user_param semi_valid(unsigned *seed, unsigned char **copy)
{
    const struct file *file = &files[below(seed, (unsigned)file_count)];
    struct user_param param = {
        .eid = eid(seed), .type = below(seed, 8) ? 0 : below(seed, 4), .stack_size = 65536};
    *copy = NULL;
    param.elf = file->data;
    param.elf_size = (long)file->size;
    param.shadow = (int)below(seed, 2);
    snprintf(param.name, sizeof param.name, "name%u", below(seed, 4));
    switch (below(seed, 12)) {
    case 0:
        param.elf = *copy = damaged(file, seed);
        break;
    case 1:
        param.elf = place(seed);
        break;
    case 2:
        param.elf_size = (long)number(seed);
        break;
    case 3:
        param.stack_size = (long)number(seed);
        break;
    case 4:
        param.type = (unsigned)number(seed);
        break;
    case 5:
        memset(param.name, 'x', sizeof param.name);
        break;
    case 6:
        param.shmid = id(seed);
        param.shm_size = below(seed, 2) ? PAGE : number(seed);
        param.shm_offset = below(seed, 2) ? 0 : number(seed);
        break;
    case 7:
        param.relay_id = id(seed);
        param.relay_size = below(seed, 2) ? PAGE : number(seed);
        param.relay_offset = below(seed, 2) ? 0 : number(seed);
        param.rerun_reason = (int)below(seed, 3);
        break;
    }
    return param;
}

static void *fill(unsigned long request, unsigned *seed, void *target, unsigned char **copy)
{
    struct user_param param = semi_valid(seed, copy);
    struct attest_param attest = {.eid = (int)param.eid, .shadow = param.shadow, .nonce = any(seed)};
    struct get_param get = {.key = (int)any(seed), .size = below(seed, 2) ? PAGE : number(seed), .flags = 0};
    struct at_param at = {.id = id(seed), .address = place(seed), .size = number(seed)};
    const void *from = &param;
    size_t size = sizeof param;
    if (request == ATTEST)
        from = &attest, size = sizeof attest;
    else if (request == SHMGET || request == RELAY_GET)
        from = &get, size = sizeof get;
    else if (request != CREATE && request >> 16 != 0x8070 && request >> 16 != 0x4070)
        from = &at, size = sizeof at;
    flying = 1;
    if (!sigsetjmp(landing, 1))
        memcpy(target, from, size);
    flying = 0;
    return target;
}

static void note(unsigned long request, void *target, unsigned *seed)
{
    flying = 1;
    if (!sigsetjmp(landing, 1) && request == CREATE)
        common->eids[below(seed, EIDS)] = ((struct user_param *)target)->eid;
    flying = 0;
}

static void an_ioctl(unsigned *seed)
{
    unsigned long request = requests[below(seed, COUNT(requests))];
    unsigned char *copy;
    unsigned long own[45]; /* as large as the largest struct; nobody else touches it */
    void *target = fill(request, seed, below(seed, 2) ? own : place(seed), &copy);
    int result;
    if (!below(seed, 32))
        request = any(seed);
    result = ioctl(below(seed, 4) ? device : other_device, request, target);
    if (result >= 0)
        __atomic_fetch_add(&common->done, 1, __ATOMIC_RELAXED);
    if (!result)
        note(request, target, seed);
    if (result > 0 && (request == SHMGET || request == RELAY_GET))
        common->ids[below(seed, EIDS)] = result;
    free(copy);
}

static void a_mapping(unsigned *seed)
{
    size_t size = below(seed, 2) ? (1 + below(seed, 4)) * PAGE : number(seed) % (64UL << 20);
    long offset = below(seed, 2) ? 0 : (long)(number(seed) & -PAGE);
    int protection = (int)below(seed, 8), flags = below(seed, 4) ? MAP_SHARED : MAP_PRIVATE;
    struct at_param at = {.id = id(seed)};
    unsigned char *found;
    ioctl(device, below(seed, 2) ? SHMAT : RELAY_AT, &at);
    if (below(seed, 2) && at.size)
        size = at.size;
    found = mmap(NULL, size, protection, flags, below(seed, 4) ? device : other_device, offset);
    if (found == MAP_FAILED)
        return;
    touch(found, size < 64 * PAGE ? size : 64 * PAGE, seed);
    switch (below(seed, 4)) {
    case 0:
        mprotect(found, PAGE, (int)below(seed, 8));
        touch(found, PAGE, seed);
        break;
    case 1:
        munmap(found, PAGE);
        break;
    case 2:
        madvise(found, size, MADV_DONTNEED);
        touch(found, PAGE, seed);
        break;
    }
    if (below(seed, 32)) /* the others go with the process */
        munmap(found, size);
}

static void a_file(unsigned *seed)
{
    switch (below(seed, 5)) {
    case 0:
        (void)!write(device, place(seed), number(seed) % (1 << 20));
        break;
    case 1:
        (void)!read(device, place(seed), number(seed) % (1 << 20));
        break;
    case 2:
        lseek(device, (long)number(seed), (int)below(seed, 5));
        break;
    case 3:
        ftruncate(device, (long)number(seed));
        break;
    default: {
        int fresh = open("/dev/penglai_enclave_dev", O_RDWR | O_CLOEXEC);
        int old = __atomic_exchange_n(&other_device, fresh, __ATOMIC_RELAXED);
        close(old);
    }
    }
}

/* The struct that another thread's call may be reading, or the page below it. */
static void pull_the_rug(unsigned *seed)
{
    unsigned char *where = stage + below(seed, 7) * PAGE;
    switch (below(seed, 6)) {
    case 0:
        mmap(where, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        break;
    case 1:
        mmap(where, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        break;
    case 2:
        munmap(where, PAGE);
        break;
    case 3:
        mmap(where, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        break;
    default:
        flying = 1;
        if (!sigsetjmp(landing, 1))
            for (unsigned i = 0; i < 32; i++)
                ((volatile unsigned long *)where)[below(seed, 44)] = number(seed);
        flying = 0;
    }
}

static void a_child(void)
{
    pid_t pid = fork();
    if (!pid)
        _exit(0); /* it has had the mappings and the open file for a moment */
    if (pid > 0)
        waitpid(pid, NULL, 0);
}

static void *work(void *argument)
{
    unsigned seed = (unsigned)(unsigned long)argument;
    for (int i = 0; i < rounds; i++) {
        unsigned kind = below(&seed, 64);
        if (kind < 44)
            an_ioctl(&seed);
        else if (kind < 52)
            a_mapping(&seed);
        else if (kind < 56)
            a_file(&seed);
        else if (kind < 63)
            pull_the_rug(&seed);
        else
            a_child();
        __atomic_fetch_add(&common->calls, 1, __ATOMIC_RELAXED);
    }
    __atomic_fetch_sub(&working, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

/* Ends enclaves, also those that everybody has forgotten, so that no thread waits in run for ever. */
static void reap(unsigned *seed)
{
    static unsigned long next;
    struct user_param param = {.eid = common->eids[below(seed, EIDS)]};
    if (below(seed, 4))
        param.eid = next = next % (common->calls + 100) + 1; /* there are fewer enclaves than calls */
    ioctl(device, below(seed, 8) ? DESTROY : RESUME, &param);
    sched_yield();
}

static void process(unsigned seed, int threads)
{
    pthread_t ids[THREADS];
    struct sigaction action = {.sa_handler = crash};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    device_open();
    other_device = dup(device);
    stage = mmap(NULL, 9 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(stage + 8 * PAGE, PAGE);
    working = threads;
    for (int i = 0; i < threads; i++)
        pthread_create(&ids[i], NULL, work, (void *)(seed * 1000UL + (unsigned long)i + 1));
    while (__atomic_load_n(&working, __ATOMIC_SEQ_CST))
        reap(&seed);
    for (int i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    _exit(0); /* what it has not destroyed goes with it */
}

int main(int argc, char **argv)
{
    int processes, threads, status, bad = 0;
    unsigned seed;
    if (argc < 6 || argc > 5 + FILES)
        return 2;
    seed = (unsigned)atoi(argv[1]), processes = atoi(argv[2]), threads = atoi(argv[3]),
    rounds = atoi(argv[4]);
    if (threads > THREADS)
        return 2;
    common = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (file_count = 0; file_count < argc - 5; file_count++) {
        struct stat found;
        int fd = open(argv[5 + file_count], O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &found))
            die(argv[5 + file_count]);
        files[file_count].size = (size_t)found.st_size;
        files[file_count].data = mmap(NULL, files[file_count].size, PROT_READ, MAP_PRIVATE, fd, 0);
        close(fd);
    }
    for (int i = 0; i < processes; i++)
        if (!fork())
            process(seed + (unsigned)i, threads);
    while (wait(&status) > 0)
        bad += status != 0;
    printf("fuzz-ioctl: %lu calls, %lu done, %d bad\n", common->calls, common->done, bad);
    return bad != 0;
}
