/* Calls the server ROUNDS times, with SIZE bytes of pages. */
#include "eapp.h"

int EAPP_ENTRY main(void)
{
    unsigned long handle = acquire_enclave("server");
    unsigned long pages = SIZE ? (unsigned long)eapp_mmap(0, SIZE) : 0;
    for (unsigned long round = 0; round < ROUNDS; round++) {
        struct call_enclave_arg_t call = {.req_arg = round, .req_vaddr = pages, .req_size = SIZE};
        if (call_enclave(handle, &call))
            EAPP_RETURN(-1);
    }
    EAPP_RETURN(ROUNDS);
}
