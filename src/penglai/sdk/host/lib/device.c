#define _POSIX_C_SOURCE 200809L
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "device.h"
#include "param.h"

int penglai_open(void)
{
    return open(PENGLAI_DEVICE, O_RDWR | O_CLOEXEC);
}

/* The process's own descriptor, opened on first use. */
static int shared_descriptor(void)
{
    static atomic_int device = -1;
    int known = atomic_load(&device);
    if (known >= 0)
        return known;
    int opened = penglai_open();
    if (opened < 0)
        return -1;
    if (atomic_compare_exchange_strong(&device, &known, opened))
        return opened;
    close(opened); /* another thread was faster */
    return known;
}

int penglai_call(unsigned int request, void *param)
{
    int device = shared_descriptor();
    return device < 0 ? -1 : ioctl(device, request, param);
}
