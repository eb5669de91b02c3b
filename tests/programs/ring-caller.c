/* Sends pages through the ring of servers, ROUNDS times; the pages are the host's if it has given any. */
#include "eapp.h"

int EAPP_ENTRY main(void)
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    char name[] = "ring0";
    unsigned long size = args[14] ? args[14] : PAGES * 4096UL;
    volatile unsigned long *pages = args[14] ? (void *)args[13] : eapp_mmap(0, size);
    unsigned long handle = acquire_enclave(name), total = 0;
    for (unsigned long round = 0; round < ROUNDS; round++) {
        struct call_enclave_arg_t call = {
            .req_arg = 7 << 8, .req_vaddr = (unsigned long)pages, .req_size = size};
        unsigned long result;
        while ((result = call_enclave(handle, &call)) == -2UL)
            EAPP_YIELD();
        if (result)
            EAPP_RETURN(-1);
        total += call.resp_val;
        for (unsigned long page = 0; page < size; page += 4096)
            if (*(volatile unsigned long *)((char *)pages + page) != (round + 1) * 8)
                EAPP_RETURN(-2);
    }
    EAPP_RETURN(total);
}
