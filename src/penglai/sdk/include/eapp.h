/*
 * The enclave side of Penglai: entry, exit, and the calls to the monitor.
 *
 *     #include "eapp.h"
 *     #include "print.h"
 *
 *     int EAPP_ENTRY main(void)
 *     {
 *         unsigned long *args;
 *         EAPP_RESERVE_REG;               // args[10] is a0 as it was at the entry
 *         eapp_print("hello\n");
 *         EAPP_RETURN(0);
 *     }
 *
 * Results are -1 where nothing else is said and the monitor has refused.
 */
#ifndef PENGLAI_EAPP_H
#define PENGLAI_EAPP_H

#include <stddef.h>
#include <stdint.h>
#include "attest.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Functions of an ecall: a7; a6 tells that it is Penglai's. */
#define EAPP_ECALL_EXTENSION 0x100101
#define EAPP_ECALL_EXIT 99
#define EAPP_ECALL_OCALL 98
#define EAPP_ECALL_ACQUIRE_SERVER 97
#define EAPP_ECALL_CALL_SERVER 96
#define EAPP_ECALL_SERVER_RETURN 95
#define EAPP_ECALL_GET_REPORT 94
#define EAPP_ECALL_ASYNC_CALL 93
#define EAPP_ECALL_SPLIT_REGION 92
#define EAPP_ECALL_CALLER_ID 91
#define EAPP_ECALL_OWN_ID 90
#define EAPP_ECALL_YIELD 89
#define EAPP_ECALL_GET_KEY 88
#define EAPP_ECALL_SHM_ATTACH 84
#define EAPP_ECALL_SHM_STAT 83
#define EAPP_ECALL_SET_HANDLER 1
#define EAPP_ECALL_HANDLER_RETURN 2
#define EAPP_ECALL_CLOCK 3

#define EAPP_PAGE_SIZE 4096
#define EAPP_SECTOR_SIZE 512

/* Kinds of key. */
#define EAPP_KEY_ENCLAVE 0
#define EAPP_KEY_STORAGE 1

/* Marks main: what begins at the entry, 0x1000, prepares the C library and calls it. */
#define EAPP_ENTRY __attribute__((section(".text._start"), used))

/*
 * Points the variable `args` at the registers as they were when the enclave began: args[N] is xN, so
 * args[10] is a0.  The entry code has saved them, so it works wherever it stands and however it is compiled.
 */
#define EAPP_RESERVE_REG (args = eapp_entry_registers)

/* Ends the enclave with a value of 64 bits for its host, as exit() does; does not return. */
#define EAPP_RETURN(value) eapp_exit((unsigned long)(value))

/* A server answers its caller.  Comes back only if the monitor refuses, for a bad argument. */
#define SERVER_RETURN(argument) eapp_server_return(argument)

/* What goes into a call of a server, and what comes out of it. */
struct call_enclave_arg_t {
    unsigned long req_arg;    /* a number */
    unsigned long resp_val;   /* the server's number */
    unsigned long req_vaddr;  /* pages to pass, a whole region of eapp_mmap's */
    unsigned long req_size;   /* 0: none */
    unsigned long resp_vaddr; /* pages that the server returns */
    unsigned long resp_size;
};

extern unsigned long *eapp_entry_registers;

/*
 * An ecall to the monitor; the result is what it leaves in a0, -1 for a call that it does not know.
 * a6 is cleared behind it: a system call of the C library has to be told from a call of Penglai's, and
 * leaves a6 as it finds it.
 */
static inline long eapp_ecall(long function, unsigned long a, unsigned long b, unsigned long c)
{
    register unsigned long a0 __asm__("a0") = a;
    register unsigned long a1 __asm__("a1") = b;
    register unsigned long a2 __asm__("a2") = c;
    register long a6 __asm__("a6") = EAPP_ECALL_EXTENSION;
    register long a7 __asm__("a7") = function;
    __asm__ volatile("ecall\n\tli a6, 0" : "+r"(a0), "+r"(a1), "+r"(a2), "+r"(a6) : "r"(a7) : "memory");
    return (long)a0;
}

/* ---- the enclave itself ---- */

/* Ends the enclave; value reaches the host.  Exit handlers run, and stdio is flushed. */
void eapp_exit(unsigned long value) __attribute__((noreturn));

/* The id by which the host knows this enclave. */
unsigned long get_enclave_id(void);

/* Writes a report with this nonce: of the server of that name, or of this enclave for the name NULL. */
int get_report(char *name, struct report_t *report, unsigned long nonce);

/* Derives key_size bytes (at most 4096) that only this enclave gets, here: EAPP_KEY_ENCLAVE or _STORAGE. */
int get_key(int key_type, char *key, int key_size);

/* Gives the hart to others. */
int eapp_yield(void);

/* ---- memory ---- */

/* Maps size bytes of zeros, rounded up to pages, at an address or (NULL) anywhere; (void *)-1 if it cannot. */
void *eapp_mmap(void *vaddr, unsigned long size);

/* Lets mapped pages go, also part of what was mapped; 0 or -1. */
int eapp_unmap(void *vaddr, unsigned long size);

/*
 * Moves the end of the heap by delta bytes, a multiple of 4096, and returns the new end; the heap begins
 * at 0x1000000000.  sbrk(0) returns the end as it is, (void *)-1 tells that it could not be moved.
 * malloc does not use this heap.
 */
void *sbrk(long delta);

/* Makes two regions of a mapped one, cut at split_addr, so that each can be passed on. */
unsigned long split_mem_region(unsigned long mem_addr, unsigned long mem_size, unsigned long split_addr);

/* Gives the relay pages back to the host, and gets the next ones: their address and size are then in
   args[13] and args[14], 0 if there are none. */
int eapp_return_relay_page();

/* ---- servers ---- */

/* A handle of the server of that name; -1 if there is none. */
unsigned long acquire_enclave(char *name);

/* Calls a server and waits for its answer: 0, -1, or -2 if it is being called. */
unsigned long call_enclave(unsigned long handle, struct call_enclave_arg_t *arg);

/* Sends number and pages to an enclave, for good; nobody waits for an answer. */
unsigned long asyn_enclave_call(char *name, struct call_enclave_arg_t *arg);

/* In a server: the id of the enclave that calls. */
unsigned long get_caller_id(void);

/* What SERVER_RETURN does: flushes stdio and answers with resp_val, resp_vaddr and resp_size. */
int eapp_server_return(struct call_enclave_arg_t *arg);

/* ---- secure memory that enclaves share; who knows the key may attach ---- */

/* Makes shared memory of that key, or finds it if it is large enough; the key.  Key 0: a new, random one. */
long eapp_shmget(unsigned long key, unsigned long size);

/* Maps it; its address, or (void *)-1. */
void *eapp_shmat(unsigned long key);

/* Unmaps it. */
int eapp_shmdt(unsigned long key);

/* Its creator wants it no more: it goes with its last user. */
int eapp_shmdestroy(unsigned long key);

/* Its size in bytes. */
long eapp_shmstat(unsigned long key);

/* Its creator makes it larger by size bytes, while nobody has it attached; its new size. */
long eapp_shmextend(unsigned long key, unsigned long size);

/* ---- storage of the host, in sectors of 512 bytes: it sees and may change them ---- */

/* One sector, copied from and to memory of the enclave; 0 or -1. */
int eapp_read_sector(unsigned long sector, void *buffer);
int eapp_write_sector(unsigned long sector, const void *buffer);

/* The same with the sector at the start of the kernel buffer. */
int eapp_persistency_read_sec(unsigned long sec);
int eapp_persistency_write_sec(unsigned long sec);

/* ---- the same calls by their other names; ocall_func_id is one of ocall.h ---- */

void *EAPP_MMAP(unsigned long ocall_func_id, void *vaddr, unsigned long size);
int EAPP_UNMAP(unsigned long ocall_func_id, void *vaddr, unsigned long size);
int EAPP_RETURN_RELAY_PAGE(unsigned long ocall_func_id);
int EAPP_PERSISTENCY_READ_SEC(unsigned long ocall_func_id, unsigned long sec);
int EAPP_PERSISTENCY_WRITE_SEC(unsigned long ocall_func_id, unsigned long sec);
unsigned long EAPP_ACQUIRE_ENCLAVE(char *name);
unsigned long EAPP_CALL_ENCLAVE(unsigned long handle, struct call_enclave_arg_t *arg);
unsigned long EAPP_GET_CALLER_ID(void);
unsigned long EAPP_GET_ENCLAVE_ID(void);
int EAPP_GET_REPORT(char *name, struct report_t *report, unsigned long nonce);
int EAPP_GET_KEY(int key_type, char *key, int key_size);

/* Both EAPP_YIELD; and EAPP_YIELD(); do. */
#define EAPP_YIELD (*eapp_yielded())
typedef int eapp_nothing(void);
eapp_nothing *eapp_yielded(void);

#ifdef __cplusplus
}
#endif
#endif
