/* Calls the servers "test-server" and "test-server1", with a number and with a page of memory. */
#include <string.h>
#include "eapp.h"
#include "print.h"

static unsigned long ask(char *name, const char *text)
{
    unsigned long server = acquire_enclave(name);
    if (server == -1UL) {
        eapp_print("caller: there is no server %s\n", name);
        EAPP_RETURN(-1);
    }
    char *page = eapp_mmap(NULL, EAPP_PAGE_SIZE);
    if (page == (char *)-1)
        EAPP_RETURN(-2);
    strcpy(page, text);
    struct call_enclave_arg_t call = {
        .req_arg = 20, .req_vaddr = (unsigned long)page, .req_size = EAPP_PAGE_SIZE};
    unsigned long result = call_enclave(server, &call);
    if (result) {
        eapp_print("caller: the call of %s failed: %ld\n", name, (long)result);
        EAPP_RETURN(-3);
    }
    eapp_print("caller: %s answers %lu; my page says: %s\n", name, call.resp_val, page);
    if (call.resp_size)
        eapp_print("caller: its page says: %s\n", (char *)call.resp_vaddr);
    return call.resp_val;
}

int EAPP_ENTRY main(void)
{
    unsigned long first = ask("test-server", "hello server");
    EAPP_RETURN(first + ask("test-server1", "hello server1"));
}
