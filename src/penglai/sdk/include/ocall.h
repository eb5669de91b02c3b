/* Requests to the host, or to the monitor on its behalf. */
#ifndef PENGLAI_OCALL_H
#define PENGLAI_OCALL_H

#include "eapp.h"

#define OCALL_MMAP 1
#define OCALL_UNMAP 2
#define OCALL_SYS_WRITE 3
#define OCALL_WRITE OCALL_SYS_WRITE
#define OCALL_SBRK 4
#define OCALL_READ_SECT 5
#define OCALL_WRITE_SECT 6
#define OCALL_RETURN_RELAY_PAGE 7
#define OCALL_GETRANDOM 8
#define OCALL_SHM_GET 9
#define OCALL_SHM_DETACH 10
#define OCALL_SHM_DESTROY 11
#define OCALL_SHM_EXTEND 12
#define OCALL_ASK 64 /* ours: a question for whoever runs the enclave */

/* In an argument that Penglai-TVM ignores: this enclave knows more than its calls. */
#define OCALL_OURS 0x69616c676e6570UL

/* The page that enclave and host share; the host sees and changes all of it at any time. */
#define EAPP_KERNEL_BUFFER ((volatile char *)0xffffffe000000000UL)

static inline long eapp_ocall(unsigned long id, unsigned long argument)
{
    return eapp_ecall(EAPP_ECALL_OCALL, id, argument, 0);
}

#endif
