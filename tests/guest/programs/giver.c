/* Gives its relay pages away for good: to the server "keeper", or, if there is none, to whoever will have that name. */
#include "eapp.h"

int EAPP_ENTRY main(void)
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t call = {.req_vaddr = args[13], .req_size = args[14]};
    EAPP_RETURN(asyn_enclave_call("keeper", &call));
}
