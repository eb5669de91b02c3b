/* One of a ring of servers: adds one to each page's first word and hands the pages on, req_arg times. */
#include "eapp.h"

int EAPP_ENTRY main(void)
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    unsigned long left = args[10] >> 8, self = args[10] & 0xff;
    unsigned long address = args[11], size = args[12];
    struct call_enclave_arg_t answer = {0};
    for (unsigned long page = 0; page < size; page += 4096)
        ++*(unsigned long *)(address + page);
    answer.resp_val = 1;
    if (left) {
        char next[] = {'r', 'i', 'n', 'g', '0' + (self + 1) % 8, 0};
        struct call_enclave_arg_t call = {.req_arg = (left - 1) << 8 | (self + 1) % 8};
        call.req_vaddr = address;
        call.req_size = size;
        if (call_enclave(acquire_enclave(next), &call))
            answer.resp_val = 1000000;
        else
            answer.resp_val += call.resp_val;
    }
    SERVER_RETURN(&answer);
}
