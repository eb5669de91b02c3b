/* A server that keeps what it is given. */
#include "eapp.h"

int EAPP_ENTRY main(void)
{
    struct call_enclave_arg_t answer = {0};
    SERVER_RETURN(&answer);
}
