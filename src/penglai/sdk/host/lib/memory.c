/* Shared memory and relay pages: the same calls, told apart by their requests. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "device.h"
#include "penglai-enclave.h"

static int get(unsigned int request, unsigned long size)
{
    struct shmget_param param = {.size = size};
    return penglai_call(request, &param);
}

static void *map(int device, unsigned int request, int id, void *addr)
{
    struct shmat_param param = {.id = id, .addr = addr};
    if (ioctl(device, request, &param) < 0)
        return NULL;
    void *mapped = mmap(addr, param.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
    return mapped == MAP_FAILED ? NULL : mapped;
}

/*
 * The ioctl tells the open file what the next mmap of it means.  A file of its own keeps two threads, or
 * a parent and its child, from mapping each other's memory; the mapping outlives the descriptor.
 */
static void *attach(unsigned int request, int id, void *addr)
{
    int device = penglai_open();
    if (device < 0)
        return NULL;
    void *mapped = map(device, request, id, addr);
    int reason = errno;
    close(device);
    errno = reason;
    return mapped;
}

static int detach(unsigned int request, int id, void *addr)
{
    struct shmdt_param param = {.id = id, .addr = addr};
    if (penglai_call(request, &param) < 0)
        return -1;
    return munmap(addr, param.size);
}

static int give_up(unsigned int request, int id)
{
    return penglai_call(request, &id) < 0 ? -1 : 0;
}

int PLenclave_shmget(unsigned long size)
{
    return get(PENGLAI_IOC_SHMGET, size);
}

void *PLenclave_shmat(int id, void *addr)
{
    return attach(PENGLAI_IOC_SHMAT, id, addr);
}

int PLenclave_shmdt(int id, void *addr)
{
    return detach(PENGLAI_IOC_SHMDT, id, addr);
}

int PLenclave_shmctl(int id)
{
    return give_up(PENGLAI_IOC_SHMCTL, id);
}

int PLenclave_schrodinger_get(unsigned long size)
{
    return get(PENGLAI_IOC_SCHRODINGER_GET, size);
}

void *PLenclave_schrodinger_at(int id, void *addr)
{
    return attach(PENGLAI_IOC_SCHRODINGER_AT, id, addr);
}

int PLenclave_schrodinger_dt(int id, void *addr)
{
    return detach(PENGLAI_IOC_SCHRODINGER_DT, id, addr);
}

int PLenclave_schrodinger_ctl(int id)
{
    return give_up(PENGLAI_IOC_SCHRODINGER_CTL, id);
}

int PLenclave_fs_persistency_init(int shmid)
{
    return penglai_call(PENGLAI_IOC_PERSISTENCY_INIT, &shmid) < 0 ? -1 : 0;
}
