/* The calls of the enclave to the monitor. */
#include <stdio.h>
#include "runtime.h"

#define ARGUMENT_A3 13
#define ARGUMENT_A4 14

unsigned long get_enclave_id(void)
{
    return (unsigned long)eapp_ecall(EAPP_ECALL_OWN_ID, 0, 0, 0);
}

int get_report(char *name, struct report_t *report, unsigned long nonce)
{
    return (int)eapp_ecall(EAPP_ECALL_GET_REPORT, (unsigned long)name, (unsigned long)report, nonce);
}

int get_key(int key_type, char *key, int key_size)
{
    return (int)eapp_ecall(EAPP_ECALL_GET_KEY, (unsigned long)key_type, (unsigned long)key,
                           (unsigned long)key_size);
}

int eapp_yield(void)
{
    return (int)eapp_ecall(EAPP_ECALL_YIELD, 0, 0, 0);
}

long eapp_generation(void)
{
    return eapp_ecall(EAPP_ECALL_GENERATION, 0, 0, 0);
}

long eapp_set_policy(unsigned long policy)
{
    return eapp_ecall(EAPP_ECALL_SET_POLICY, policy, 0, 0);
}

static int yield_was_called(void)
{
    return 0;
}

eapp_nothing *eapp_yielded(void)
{
    eapp_yield();
    return yield_was_called;
}

int eapp_random(void *buffer, size_t size)
{
    long done = eapp_ecall(EAPP_ECALL_OCALL, OCALL_GETRANDOM, (unsigned long)buffer, size);
    return done == (long)size ? 0 : -1;
}

/* ---- memory ---- */

void *EAPP_MMAP(unsigned long ocall_func_id, void *vaddr, unsigned long size)
{
    return (void *)eapp_ecall(EAPP_ECALL_OCALL, ocall_func_id, (unsigned long)vaddr, size);
}

int EAPP_UNMAP(unsigned long ocall_func_id, void *vaddr, unsigned long size)
{
    return (int)eapp_ecall(EAPP_ECALL_OCALL, ocall_func_id, (unsigned long)vaddr, size);
}

void *eapp_mmap(void *vaddr, unsigned long size)
{
    return EAPP_MMAP(OCALL_MMAP, vaddr, size);
}

int eapp_unmap(void *vaddr, unsigned long size)
{
    return EAPP_UNMAP(OCALL_UNMAP, vaddr, size);
}

void *sbrk(long delta)
{
    return (void *)eapp_ocall(OCALL_SBRK, (unsigned long)delta);
}

unsigned long split_mem_region(unsigned long mem_addr, unsigned long mem_size, unsigned long split_addr)
{
    return (unsigned long)eapp_ecall(EAPP_ECALL_SPLIT_REGION, mem_addr, mem_size, split_addr);
}

int EAPP_RETURN_RELAY_PAGE(unsigned long ocall_func_id)
{
    register unsigned long a0 __asm__("a0") = ocall_func_id;
    register unsigned long a1 __asm__("a1") = OCALL_OURS; /* tell the place of the next pages in a1 and a2 */
    register unsigned long a2 __asm__("a2") = 0;
    register long a6 __asm__("a6") = EAPP_ECALL_EXTENSION;
    register long a7 __asm__("a7") = EAPP_ECALL_OCALL;
    __asm__ volatile("ecall\n\tli a6, 0" : "+r"(a0), "+r"(a1), "+r"(a2), "+r"(a6) : "r"(a7) : "memory");
    if (!a0) {
        eapp_entry_registers[ARGUMENT_A3] = a1;
        eapp_entry_registers[ARGUMENT_A4] = a2;
    }
    return (int)a0;
}

int eapp_return_relay_page(void)
{
    return EAPP_RETURN_RELAY_PAGE(OCALL_RETURN_RELAY_PAGE);
}

/* ---- servers ---- */

unsigned long acquire_enclave(char *name)
{
    return (unsigned long)eapp_ecall(EAPP_ECALL_ACQUIRE_SERVER, (unsigned long)name, 0, 0);
}

unsigned long eapp_acquire_measured(const char *name, const unsigned char measurement[32])
{
    return (unsigned long)eapp_ecall(EAPP_ECALL_ACQUIRE_MEASURED, (unsigned long)name,
                                     (unsigned long)measurement, 0);
}

unsigned long call_enclave(unsigned long handle, struct call_enclave_arg_t *arg)
{
    return (unsigned long)eapp_ecall(EAPP_ECALL_CALL_SERVER, handle, (unsigned long)arg, 0);
}

unsigned long asyn_enclave_call(char *name, struct call_enclave_arg_t *arg)
{
    return (unsigned long)eapp_ecall(EAPP_ECALL_ASYNC_CALL, (unsigned long)name, (unsigned long)arg, 0);
}

unsigned long get_caller_id(void)
{
    return (unsigned long)eapp_ecall(EAPP_ECALL_CALLER_ID, 0, 0, 0);
}

int eapp_server_return(struct call_enclave_arg_t *arg)
{
    fflush(NULL);
    return (int)eapp_ecall(EAPP_ECALL_SERVER_RETURN, (unsigned long)arg, 0, 0);
}

/* ---- shared memory ---- */

static long shared(unsigned long request, unsigned long key, unsigned long size)
{
    return eapp_ecall(EAPP_ECALL_OCALL, request, key, size);
}

long eapp_shmget(unsigned long key, unsigned long size)
{
    return shared(OCALL_SHM_GET, key, size);
}

void *eapp_shmat(unsigned long key)
{
    return (void *)eapp_ecall(EAPP_ECALL_SHM_ATTACH, key, 0, 0);
}

int eapp_shmdt(unsigned long key)
{
    return (int)shared(OCALL_SHM_DETACH, key, 0);
}

int eapp_shmdestroy(unsigned long key)
{
    return (int)shared(OCALL_SHM_DESTROY, key, 0);
}

long eapp_shmstat(unsigned long key)
{
    return eapp_ecall(EAPP_ECALL_SHM_STAT, key, 0, 0);
}

long eapp_shmextend(unsigned long key, unsigned long size)
{
    return shared(OCALL_SHM_EXTEND, key, size);
}

/* ---- sectors ---- */

int eapp_read_sector(unsigned long sector, void *buffer)
{
    int result = (int)eapp_ecall(EAPP_ECALL_OCALL, OCALL_READ_SECT, sector, OCALL_OURS);
    for (int i = 0; !result && i < EAPP_SECTOR_SIZE; i++)
        ((char *)buffer)[i] = EAPP_KERNEL_BUFFER[i];
    return result;
}

int eapp_write_sector(unsigned long sector, const void *buffer)
{
    for (int i = 0; i < EAPP_SECTOR_SIZE; i++)
        EAPP_KERNEL_BUFFER[i] = ((const char *)buffer)[i];
    return (int)eapp_ecall(EAPP_ECALL_OCALL, OCALL_WRITE_SECT, sector, OCALL_OURS);
}
