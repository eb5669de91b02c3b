/* The server "test-server1": doubles a number, and returns a page of its own for one that it was lent. */
#include <stdio.h>
#include "eapp.h"
#include "print.h"

int EAPP_ENTRY main(void)
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t answer = {.resp_val = 2 * args[10]};
    if (args[12]) {
        char *page = eapp_mmap(NULL, EAPP_PAGE_SIZE);
        if (page != (char *)-1) {
            snprintf(page, EAPP_PAGE_SIZE, "twice %lu", args[10]);
            answer.resp_vaddr = (unsigned long)page;
            answer.resp_size = EAPP_PAGE_SIZE;
        }
    }
    printf("server1: doubled %lu\n", args[10]);
    SERVER_RETURN(&answer);
}
