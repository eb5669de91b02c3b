/* Calls the server "spinner", which never returns. */
#include "eapp.h"

int EAPP_ENTRY main(void)
{
    struct call_enclave_arg_t call = {0};
    EAPP_RETURN(call_enclave(acquire_enclave("spinner"), &call));
}
