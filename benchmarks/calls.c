/* Makes ROUNDS calls of one kind and writes into shared memory how long each took, in units of 100 ns. */
#include <sys/syscall.h>
#include <unistd.h>
#include "eapp.h"
#include "ocall.h"

#ifndef SIZE
#define SIZE 0UL
#endif

static unsigned long now(void)
{
    unsigned long time;
    __asm__ volatile("rdtime %0" : "=r"(time));
    return time;
}

int EAPP_ENTRY main(void)
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    unsigned *times = (unsigned *)args[10];
#ifdef SERVER
    unsigned long handle = acquire_enclave("server");
    unsigned long pages = SIZE ? (unsigned long)eapp_mmap(0, SIZE) : 0;
#endif
    EAPP_KERNEL_BUFFER[0] = 0;
    for (unsigned long round = 0; round < ROUNDS; round++) {
        unsigned long begun = now();
#if defined(SERVER)
        struct call_enclave_arg_t call = {.req_arg = round, .req_vaddr = pages, .req_size = SIZE};
        if (call_enclave(handle, &call))
            EAPP_RETURN(-1);
#elif defined(OWN_ID)
        get_enclave_id();
#elif defined(OCALL)
        eapp_ocall(OCALL_WRITE, 0);
#elif defined(YIELD)
        EAPP_YIELD();
#elif defined(SBRK)
        sbrk(round % 2 ? -EAPP_PAGE_SIZE : EAPP_PAGE_SIZE);
#elif defined(REFLECTED)
        syscall(SYS_getppid);
#endif
        times[round] = (unsigned)(now() - begun);
    }
    EAPP_RETURN(ROUNDS);
}
