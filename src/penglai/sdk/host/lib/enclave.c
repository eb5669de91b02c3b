/*
 * The life of an enclave.
 *
 * user_param belongs to the thread that creates and runs: the driver may write to it at any time during a
 * run, above all the eid of a shadow's instance.  All other calls send a struct of their own, so that they
 * neither disturb a run nor each other.
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "device.h"
#include "penglai-enclave.h"

#define DEFAULT_STACK_SIZE (64 * 1024)
#define NO_EID (-1UL)

static void forget(struct PLenclave *enclave)
{
    memset(enclave, 0, sizeof *enclave);
    enclave->fd = enclave->eid = enclave->attest_param.eid = -1;
    enclave->user_param.eid = NO_EID;
}

/* Updates the other fields that hold the eid from user_param. */
static void spread_eid(struct PLenclave *enclave)
{
    enclave->eid = enclave->attest_param.eid = (int)enclave->user_param.eid;
    enclave->attest_param.isShadow = enclave->user_param.isShadow;
}

/* The enclave that the struct refers to now; a driver that serves a run may be writing it at this moment. */
static struct user_param identity(const struct PLenclave *enclave)
{
    const struct user_param *own = &enclave->user_param;
    struct user_param param = {.type = own->type};
    param.eid = __atomic_load_n(&own->eid, __ATOMIC_ACQUIRE);
    param.isShadow = __atomic_load_n(&own->isShadow, __ATOMIC_RELAXED);
    return param;
}

static int call(const struct PLenclave *enclave, unsigned int request)
{
    struct user_param param = identity(enclave);
    return ioctl(enclave->fd, request, &param) < 0 ? -1 : 0;
}

int PLenclave_init(struct PLenclave *enclave)
{
    forget(enclave);
    enclave->fd = penglai_open();
    return enclave->fd < 0 ? -1 : 0;
}

void enclave_args_init(struct enclave_args *params)
{
    memset(params, 0, sizeof *params);
    params->type = NORMAL_ENCLAVE;
    params->stack_size = DEFAULT_STACK_SIZE;
}

int PLenclave_create(struct PLenclave *enclave, struct elf_args *elf, struct enclave_args *params)
{
    if (!elf_valid(elf) || !memchr(params->name, 0, sizeof params->name)) {
        errno = EINVAL;
        return -1;
    }
    struct user_param param = enclave->user_param; /* what was set before: shared memory, relay pages */
    param.rerun_reason = 0;
    strcpy(param.name, params->name);
    param.type = (unsigned int)params->type;
    param.elf_ptr = (unsigned long)elf->ptr;
    param.elf_size = (long)elf->size;
    param.stack_size = (long)params->stack_size;
    if (params->shmid) {
        param.shmid = params->shmid;
        param.shm_offset = params->shm_offset;
        param.shm_size = params->shm_size;
    }
    if (ioctl(enclave->fd, PENGLAI_IOC_CREATE, &param) < 0)
        return -1;
    enclave->user_param = param;
    enclave->elffile = elf;
    spread_eid(enclave);
    return 0;
}

int PLenclave_run(struct PLenclave *enclave)
{
    int result = ioctl(enclave->fd, PENGLAI_IOC_RUN, &enclave->user_param);
    spread_eid(enclave);
    return result;
}

int PLenclave_attest(struct PLenclave *enclave, unsigned long nonce)
{
    struct user_param who = identity(enclave);
    struct attest_param param = {.eid = (int)who.eid, .isShadow = who.isShadow, .nonce = nonce};
    if (ioctl(enclave->fd, PENGLAI_IOC_ATTEST, &param) < 0)
        return -1;
    enclave->attest_param = param;
    return 0;
}

int PLenclave_stop(struct PLenclave *enclave)
{
    return call(enclave, PENGLAI_IOC_STOP);
}

int PLenclave_resume(struct PLenclave *enclave)
{
    return call(enclave, PENGLAI_IOC_RESUME);
}

int PLenclave_destroy(struct PLenclave *enclave)
{
    return call(enclave, PENGLAI_IOC_DESTROY);
}

void PLenclave_destruct(struct PLenclave *enclave)
{
    int reason = errno;
    if (enclave->user_param.eid != NO_EID)
        PLenclave_destroy(enclave); /* fails if it has ended, which is fine */
    if (enclave->fd >= 0)
        close(enclave->fd);
    forget(enclave);
    errno = reason;
}

int PLenclave_set_shm(struct PLenclave *enclave, int id, unsigned long offset, unsigned long size)
{
    enclave->user_param.shmid = id;
    enclave->user_param.shm_offset = offset;
    enclave->user_param.shm_size = size;
    return 0;
}

int PLenclave_set_mem_arg(struct PLenclave *enclave, int id, unsigned long offset, unsigned long size)
{
    enclave->user_param.schrodinger_id = id;
    enclave->user_param.schrodinger_offset = offset;
    enclave->user_param.schrodinger_size = size;
    return 0;
}

int PLenclave_set_rerun_arg(struct PLenclave *enclave, int rerun_reason)
{
    enclave->user_param.rerun_reason = rerun_reason;
    return 0;
}
