/* The server "test-server": counts its calls, writes on the caller's page, and calls "test-server1". */
#include "eapp.h"
#include "print.h"

static int calls; /* a server's memory stays from call to call */

static unsigned long ask_other(unsigned long number)
{
    static unsigned long other;
    if (!other)
        other = acquire_enclave("test-server1");
    struct call_enclave_arg_t call = {.req_arg = number};
    if (other == -1UL || call_enclave(other, &call))
        return 0;
    return call.resp_val;
}

int EAPP_ENTRY main(void)
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    unsigned long number = args[10], size = args[12];
    char *page = (char *)args[11];
    calls++;
    printf("server: call %d, from enclave %lu: %lu, %lu bytes\n", calls, get_caller_id(), number, size);
    if (size)
        snprintf(page, size, "served %d times", calls);
    struct call_enclave_arg_t answer = {.resp_val = number + 1 + ask_other(number)};
    SERVER_RETURN(&answer);
}
