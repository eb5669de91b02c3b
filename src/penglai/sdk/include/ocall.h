/* Requests to the host. */
#ifndef PENGLAI_OCALL_H
#define PENGLAI_OCALL_H

#include "eapp.h"

#define OCALL_WRITE 3
#define OCALL_SBRK 4

/* The page that enclave and host share; the host sees and changes all of it at any time. */
#define EAPP_KERNEL_BUFFER ((volatile char *)0xffffffe000000000UL)

static inline long eapp_ocall(unsigned long id, unsigned long argument)
{
    return eapp_ecall(EAPP_ECALL_OCALL, id, argument, 0);
}

#endif
