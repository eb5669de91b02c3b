/*
 * The calls of the enclave to the monitor, as Penglai-TVM has them.
 *
 * It reaches memory by the physical address of its first byte alone, so whatever it reads or writes lies in one
 * page here, and is copied.  What it does not have fails.
 */
#include <stdio.h>
#include <string.h>
#include "../lib/runtime.h"

#define ARGUMENT_A1 11
#define ARGUMENT_A2 12
#define REFUSED (-1L)

static union {
    struct {
        char name[16];
        struct call_enclave_arg_t argument;
        struct report_t report;
    };
    char bytes[EAPP_PAGE_SIZE];
} page __attribute__((aligned(EAPP_PAGE_SIZE)));

static unsigned long named(const char *name)
{
    memset(page.name, 0, sizeof page.name);
    memcpy(page.name, name, strnlen(name, sizeof page.name - 1));
    return (unsigned long)page.name;
}

unsigned long get_enclave_id(void)
{
    return (unsigned long)eapp_ecall(EAPP_ECALL_OWN_ID, 0, 0, 0);
}

int get_report(char *name, struct report_t *report, unsigned long nonce)
{
    unsigned long whose = name ? named(name) : 0;
    int result = (int)eapp_ecall(EAPP_ECALL_GET_REPORT, whose, (unsigned long)&page.report, nonce);
    if (!result)
        *report = page.report;
    return result;
}

int get_key(int key_type, char *key, int key_size)
{
    if ((key_type != EAPP_KEY_ENCLAVE && key_type != EAPP_KEY_STORAGE) || key_size <= 0 ||
        key_size > (int)sizeof page.bytes)
        return REFUSED;
    int result = (int)eapp_ecall(EAPP_ECALL_GET_KEY, (unsigned long)key_type, (unsigned long)page.bytes,
                                 (unsigned long)key_size);
    if (!result)
        memcpy(key, page.bytes, (size_t)key_size);
    memset(page.bytes, 0, sizeof page.bytes);
    return result;
}

/* The original loses an enclave that yields. */
int eapp_yield(void)
{
    return 0;
}

static int yield_was_called(void)
{
    return 0;
}

eapp_nothing *eapp_yielded(void)
{
    return yield_was_called;
}

unsigned long split_mem_region(unsigned long mem_addr, unsigned long mem_size, unsigned long split_addr)
{
    return (unsigned long)eapp_ecall(EAPP_ECALL_SPLIT_REGION, mem_addr, mem_size, split_addr);
}

/* The next pages lie where those before did, and are as many. */
int EAPP_RETURN_RELAY_PAGE(unsigned long ocall_func_id)
{
    eapp_console_flush();
    return (int)eapp_ecall(EAPP_ECALL_OCALL, ocall_func_id, 0, 0);
}

int eapp_return_relay_page(void)
{
    return EAPP_RETURN_RELAY_PAGE(OCALL_RETURN_RELAY_PAGE);
}

/* Nothing is restored there. */
long eapp_generation(void)
{
    return 0;
}

long eapp_set_policy(unsigned long policy)
{
    (void)policy;
    return REFUSED;
}

/* ---- servers ---- */

unsigned long acquire_enclave(char *name)
{
    return (unsigned long)eapp_ecall(EAPP_ECALL_ACQUIRE_SERVER, named(name), 0, 0);
}

/* There nobody can tell whom a name means. */
unsigned long eapp_acquire_measured(const char *name, const unsigned char measurement[32])
{
    (void)name;
    (void)measurement;
    return (unsigned long)REFUSED;
}

unsigned long call_enclave(unsigned long handle, struct call_enclave_arg_t *arg)
{
    if (handle == (unsigned long)REFUSED) /* which the original does not look at */
        return (unsigned long)REFUSED;
    eapp_console_flush();
    page.argument = *arg;
    long result = eapp_ecall(EAPP_ECALL_CALL_SERVER, handle, (unsigned long)&page.argument, 0);
    if (!result)
        *arg = page.argument;
    return (unsigned long)result;
}

/* The argument has to lie in memory that is the host's too. */
unsigned long asyn_enclave_call(char *name, struct call_enclave_arg_t *arg)
{
    eapp_console_flush();
    for (size_t i = 0; i < sizeof *arg; i++)
        EAPP_KERNEL_BUFFER[i] = ((const char *)arg)[i];
    return (unsigned long)eapp_ecall(EAPP_ECALL_ASYNC_CALL, named(name), (unsigned long)EAPP_KERNEL_BUFFER,
                                     0);
}

unsigned long get_caller_id(void)
{
    return (unsigned long)eapp_ecall(EAPP_ECALL_CALLER_ID, 0, 0, 0);
}

/* The caller's pages go back to it only if the answer names them. */
int eapp_server_return(struct call_enclave_arg_t *arg)
{
    fflush(NULL);
    eapp_console_flush();
    page.argument = *arg;
    page.argument.req_vaddr = eapp_entry_registers[ARGUMENT_A1];
    page.argument.req_size = eapp_entry_registers[ARGUMENT_A2];
    return (int)eapp_ecall(EAPP_ECALL_SERVER_RETURN, (unsigned long)&page.argument, 0, 0);
}

/* ---- what the original does not have ---- */

long eapp_shmget(unsigned long key, unsigned long size)
{
    (void)key;
    (void)size;
    return REFUSED;
}

void *eapp_shmat(unsigned long key)
{
    (void)key;
    return (void *)REFUSED;
}

int eapp_shmdt(unsigned long key)
{
    (void)key;
    return REFUSED;
}

int eapp_shmdestroy(unsigned long key)
{
    (void)key;
    return REFUSED;
}

long eapp_shmstat(unsigned long key)
{
    (void)key;
    return REFUSED;
}

long eapp_shmextend(unsigned long key, unsigned long size)
{
    (void)key;
    (void)size;
    return REFUSED;
}

int eapp_read_sector(unsigned long sector, void *buffer)
{
    (void)sector;
    (void)buffer;
    return REFUSED;
}

int eapp_write_sector(unsigned long sector, const void *buffer)
{
    (void)sector;
    (void)buffer;
    return REFUSED;
}
