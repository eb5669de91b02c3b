/* Takes the place of /dev/penglai_enclave_dev: a few enclaves without a monitor. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "penglai-enclave.h"

enum program { SUMS, RELAYS, LOOPS, FAULTS, CALLS };
enum state { FRESH, RUNNING, STOPPED, WAITING, GONE };

struct enclave {
    enum state state;
    unsigned type;
    enum program program;
    char name[16];
    unsigned long sum;
};
struct memory {
    int fd, known, mapped;
    unsigned long size;
};

static struct enclave enclaves[200];
static struct memory memories[400];
static int last_eid, last_id;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static int refuse(int reason)
{
    errno = reason;
    return -1;
}

/* What the test wants the device to do wrong. */
static int broken(const char *what)
{
    const char *asked = getenv("FAKE_BREAKS");
    return asked && !strcmp(asked, what);
}

static struct enclave *find(unsigned long eid)
{
    if (eid < 1 || eid > (unsigned long)last_eid || enclaves[eid].state == GONE)
        return NULL;
    return &enclaves[eid];
}

static unsigned long servers_in_a_row(void)
{
    char name[16] = "test-server";
    for (unsigned long count = 0;; count++) {
        int found = 0;
        if (count)
            sprintf(name, "test-server%lu", count);
        for (int eid = 1; eid <= last_eid; eid++)
            found |= find(eid) && enclaves[eid].type == SERVER_ENCLAVE && !strcmp(enclaves[eid].name, name);
        if (!found)
            return count;
    }
}

static int create(struct user_param *param)
{
    if (broken("create"))
        return refuse(ENOMEM);
    struct enclave *enclave = &enclaves[++last_eid];
    enclave->type = param->type;
    enclave->program = *(unsigned long *)(param->elf_ptr + 24);
    memcpy(enclave->name, param->name, sizeof enclave->name);
    param->eid = last_eid;
    return 0;
}

/* Adds up the relay pages, which the host must not have any more. */
static int take_pages(struct enclave *enclave, const struct user_param *param)
{
    unsigned long numbers[512];
    struct memory *memory = &memories[param->schrodinger_id];
    if (!param->schrodinger_id)
        return 0;
    if (!memory->known || memory->mapped)
        return -1;
    if (param->schrodinger_offset || param->schrodinger_size != sizeof numbers)
        return -1;
    if (pread(memory->fd, numbers, sizeof numbers, 0) != sizeof numbers)
        return -1;
    for (int i = 0; i < 512; i++)
        enclave->sum += numbers[i];
    return 0;
}

static int execute(struct enclave *enclave, struct user_param *param, int rerun)
{
    if (enclave->program == FAULTS || broken("run")) {
        enclave->state = GONE;
        return refuse(EFAULT);
    }
    if (enclave->program == RELAYS && !rerun) {
        enclave->state = WAITING;
        return RETURN_USER_RELAY_PAGE;
    }
    while (enclave->program == LOOPS && enclave->state != GONE)
        pthread_cond_wait(&changed, &lock);
    enclave->state = GONE;
    param->retval = enclave->program == CALLS ? servers_in_a_row() : enclave->sum;
    return 0;
}

static int run(struct user_param *param)
{
    struct enclave *enclave = find(param->eid);
    int rerun = param->rerun_reason == RETURN_USER_RELAY_PAGE;
    if (!enclave)
        return refuse(EINVAL);
    if (enclave->type == SERVER_ENCLAVE || enclave->state != (rerun ? WAITING : FRESH))
        return refuse(EFAULT);
    if (enclave->type == SHADOW_ENCLAVE) {
        enclaves[++last_eid] = *enclave;
        enclave = &enclaves[last_eid];
        enclave->type = NORMAL_ENCLAVE;
        param->isShadow = 1; /* before its end: others stop it by this struct */
        __atomic_store_n(&param->eid, last_eid, __ATOMIC_RELEASE);
    }
    if (take_pages(enclave, param))
        return refuse(EFAULT);
    enclave->state = RUNNING;
    return execute(enclave, param, rerun);
}

static int stop(struct enclave *enclave)
{
    if (!enclave)
        return broken("destroy") ? 0 : refuse(EINVAL);
    if (enclave->state == FRESH || enclave->type != NORMAL_ENCLAVE)
        return refuse(EFAULT);
    if (enclave->state == STOPPED && broken("stop"))
        return refuse(EFAULT);
    enclave->state = STOPPED;
    return 0;
}

static int resume(struct enclave *enclave)
{
    if (!enclave)
        return refuse(EINVAL);
    if (enclave->state != STOPPED)
        return refuse(EFAULT);
    if (!broken("resume"))
        enclave->state = RUNNING;
    return 0;
}

static int destroy(struct enclave *enclave)
{
    if (!enclave)
        return refuse(EINVAL);
    enclave->state = GONE;
    return pthread_cond_broadcast(&changed);
}

static int attest(struct attest_param *param)
{
    struct enclave *enclave = find(param->eid);
    if (!enclave)
        return refuse(EINVAL);
    if (enclave->state != FRESH && enclave->state != STOPPED)
        return refuse(EFAULT);
    memset(param->report.enclave.hash, 0xab, HASH_SIZE);
    memset(param->report.sm.hash, 0xcd, HASH_SIZE);
    memset(param->report.dev_pub_key, 0xef, PUBLIC_KEY_SIZE);
    param->report.enclave.nonce = param->nonce + broken("attest");
    return 0;
}

static int get(struct shmget_param *param)
{
    struct memory *memory = &memories[++last_id];
    *memory = (struct memory){.fd = memfd_create("memory", 0), .known = 1, .size = param->size};
    return ftruncate(memory->fd, param->size) ? -1 : last_id;
}

static struct memory *memory(int id)
{
    return id > 0 && id <= last_id && memories[id].known ? &memories[id] : NULL;
}

static int attach(int fd, struct shmat_param *param)
{
    struct memory *found = memory(param->id);
    if (!found)
        return refuse(EINVAL);
    found->mapped++;
    param->size = found->size;
    return dup2(found->fd, fd) < 0 ? -1 : 0; /* what the next mmap of this file maps */
}

static int detach(struct shmdt_param *param)
{
    struct memory *found = memory(param->id);
    if (!found)
        return refuse(EINVAL);
    found->mapped--;
    param->size = found->size;
    return 0;
}

static int give_up(int id)
{
    struct memory *found = memory(id);
    if (!found)
        return refuse(EINVAL);
    found->known = 0;
    return 0;
}

static int serve(int fd, unsigned request, void *argument)
{
    struct user_param *param = argument;
    switch (request) {
    case PENGLAI_IOC_CREATE:
        return create(param);
    case PENGLAI_IOC_RUN:
        return run(param);
    case PENGLAI_IOC_ATTEST:
        return attest(argument);
    case PENGLAI_IOC_STOP:
        return stop(find(param->eid));
    case PENGLAI_IOC_RESUME:
        return resume(find(param->eid));
    case PENGLAI_IOC_DESTROY:
        return destroy(find(param->eid));
    case PENGLAI_IOC_SHMGET:
    case PENGLAI_IOC_SCHRODINGER_GET:
        return get(argument);
    case PENGLAI_IOC_SHMAT:
    case PENGLAI_IOC_SCHRODINGER_AT:
        return attach(fd, argument);
    case PENGLAI_IOC_SHMDT:
    case PENGLAI_IOC_SCHRODINGER_DT:
        return detach(argument);
    case PENGLAI_IOC_SHMCTL:
    case PENGLAI_IOC_SCHRODINGER_CTL:
        return give_up(*(int *)argument);
    case PENGLAI_IOC_PERSISTENCY_INIT:
        return memory(*(int *)argument) ? 0 : refuse(EINVAL);
    }
    return refuse(ENOTTY);
}

int ioctl(int fd, int request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (fcntl(fd, F_GETFD) < 0)
        return -1;
    pthread_mutex_lock(&lock);
    int result = serve(fd, request, argument);
    pthread_mutex_unlock(&lock);
    return result;
}

int open(const char *path, int flags, ...)
{
    if (!strcmp(path, PENGLAI_DEVICE))
        return broken("open") ? refuse(ENOENT) : memfd_create("device", MFD_CLOEXEC);
    return syscall(SYS_openat, AT_FDCWD, path, flags, 0666);
}
