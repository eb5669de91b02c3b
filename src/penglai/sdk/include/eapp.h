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
 * Unless a function says otherwise, its result is -1 if the monitor refuses.
 */
#ifndef PENGLAI_EAPP_H
#define PENGLAI_EAPP_H

/* Functions of an ecall (a7); a6 marks it as Penglai's. */
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
#define EAPP_ECALL_ACQUIRE_MEASURED 4
#define EAPP_ECALL_HANDLER_WHERE 5
#define EAPP_ECALL_HANDLER_GO 6
#define EAPP_ECALL_SET_EVENTS 7
#define EAPP_ECALL_GENERATION 8
#define EAPP_ECALL_SET_POLICY 9

#define EAPP_PAGE_SIZE 4096
#define EAPP_SECTOR_SIZE 512

/* Nanoseconds for each count of the time register. */
#define EAPP_NS_PER_TICK 100

/* Kinds of key. */
#define EAPP_KEY_ENCLAVE 0
#define EAPP_KEY_STORAGE 1

/* Snapshots that the host may make: one in which the enclave itself goes on, and one for others that do. */
#define EAPP_MAY_MOVE 1
#define EAPP_MAY_CLONE 2

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>
#include "attest.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Marks main.  The code at the entry, 0x1000, prepares the C library and calls it. */
#define EAPP_ENTRY __attribute__((section(".text._start"), used))

/*
 * Points the variable `args` at the registers as they were when the enclave began: args[N] is xN, so
 * args[10] is a0.  The entry code has saved them, so this works anywhere and at any level of optimisation.
 */
#define EAPP_RESERVE_REG (args = eapp_entry_registers)

/* Ends the enclave as exit() does, with a 64-bit value for its host; does not return. */
#define EAPP_RETURN(value) eapp_exit((unsigned long)(value))

/* A server answers its caller.  Returns only if the monitor refuses a bad argument. */
#define SERVER_RETURN(argument) eapp_server_return(argument)

/* What goes into a call of a server, and what comes out of it. */
struct call_enclave_arg_t {
    unsigned long req_arg;    /* a number */
    unsigned long resp_val;   /* the server's number */
    unsigned long req_vaddr;  /* pages to pass: a whole region from eapp_mmap */
    unsigned long req_size;   /* 0: none */
    unsigned long resp_vaddr; /* pages that the server returns */
    unsigned long resp_size;
};

extern unsigned long *eapp_entry_registers;

/*
 * An ecall to the monitor; the result is its a0, -1 for an unknown call.
 * a6 is cleared afterwards: a system call of the C library leaves a6 as it is, and must not be taken for a
 * call of Penglai's.
 */
#ifdef EAPP_PORTABLE
long eapp_raw_ecall(unsigned long a, unsigned long b, unsigned long c, long function);
#endif

static inline long eapp_ecall(long function, unsigned long a, unsigned long b, unsigned long c)
{
#ifdef EAPP_PORTABLE
    return eapp_raw_ecall(a, b, c, function);
#else
    register unsigned long a0 __asm__("a0") = a;
    register unsigned long a1 __asm__("a1") = b;
    register unsigned long a2 __asm__("a2") = c;
    register long a6 __asm__("a6") = EAPP_ECALL_EXTENSION;
    register long a7 __asm__("a7") = function;
    __asm__ volatile("ecall\n\tli a6, 0" : "+r"(a0), "+r"(a1), "+r"(a2), "+r"(a6) : "r"(a7) : "memory");
    return (long)a0;
#endif
}

/* ---- the enclave itself ---- */

/* Ends the enclave; value reaches the host.  Exit handlers run, and stdio is flushed. */
void eapp_exit(unsigned long value) __attribute__((noreturn));

/* The id by which the host knows this enclave. */
unsigned long get_enclave_id(void);

/*
 * Writes a report with this nonce: of the server of that name, or of this enclave for the name NULL.  From then
 * on that name means that server to this enclave, even if the host gives the name to another one.
 */
int get_report(char *name, struct report_t *report, unsigned long nonce);

/* Derives key_size bytes (at most 4096) that only this enclave gets, here: EAPP_KEY_ENCLAVE or _STORAGE. */
int get_key(int key_type, char *key, int key_size);

/* Lets other enclaves have the hart. */
int eapp_yield(void);

/*
 * How often this enclave has been restored from a snapshot.  One that is restored as a clone has the memory, and so
 * the random state, of others: when this number changes, get new random numbers.
 */
long eapp_generation(void);

/* Which snapshots may be made from now on: EAPP_MAY_MOVE, as it is in the beginning, EAPP_MAY_CLONE, both or none. */
long eapp_set_policy(unsigned long policy);

/* ---- memory ---- */

/* Maps size bytes of zeros, rounded up to pages, at an address or (NULL) anywhere; (void *)-1 if it cannot. */
void *eapp_mmap(void *vaddr, unsigned long size);

/* Unmaps pages, which may be part of what was mapped; 0 or -1. */
int eapp_unmap(void *vaddr, unsigned long size);

/*
 * Moves the end of the heap by delta bytes, a multiple of 4096, and returns the new end; the heap begins
 * at 0x1000000000.  sbrk(0) returns the current end, (void *)-1 means that it could not be moved.
 * malloc does not use this heap.
 */
void *sbrk(long delta);

/* Splits a mapped region in two at split_addr, so that each part can be passed on. */
unsigned long split_mem_region(unsigned long mem_addr, unsigned long mem_size, unsigned long split_addr);

/* Gives the relay pages back to the host, and gets the next ones: their address and size are then in
   args[13] and args[14], 0 if there are none. */
int eapp_return_relay_page();

/* ---- servers ---- */

/* A handle of the server of that name; -1 if there is none.  The host decides which server has the name. */
unsigned long acquire_enclave(char *name);

/*
 * The same, if the server has this measurement (`penglai measure --kind server` says it); else -1.  The handle
 * always means that very server: once it is gone, calls have the result -1.
 */
unsigned long eapp_acquire_measured(const char *name, const unsigned char measurement[32]);

/* Calls a server and waits for its answer: 0, -1, or -2 if it is being called. */
unsigned long call_enclave(unsigned long handle, struct call_enclave_arg_t *arg);

/*
 * Sends a number and pages to an enclave, permanently, without waiting for an answer.  The host may give the name
 * to any enclave, so send no secrets.  After get_report() of a server of that name, only that server gets it.
 */
unsigned long asyn_enclave_call(char *name, struct call_enclave_arg_t *arg);

/* In a server: the id of the enclave that calls. */
unsigned long get_caller_id(void);

/* What SERVER_RETURN does: flushes stdio and answers with resp_val, resp_vaddr and resp_size. */
int eapp_server_return(struct call_enclave_arg_t *arg);

/* ---- secure memory that enclaves share; whoever knows the key can attach it ---- */

/* Creates shared memory with that key, or finds it if it is large enough; returns the key.  0: a random one. */
long eapp_shmget(unsigned long key, unsigned long size);

/* Maps it; its address, or (void *)-1. */
void *eapp_shmat(unsigned long key);

/* Unmaps it. */
int eapp_shmdt(unsigned long key);

/* Its creator gives it up: it is freed when nobody has it attached. */
int eapp_shmdestroy(unsigned long key);

/* Its size in bytes. */
long eapp_shmstat(unsigned long key);

/* Its creator makes it larger by size bytes, while nobody has it attached; its new size. */
long eapp_shmextend(unsigned long key, unsigned long size);

/* ---- storage of the host, in sectors of 512 bytes: the host can read and change them ---- */

/* One sector, copied from and to memory of the enclave; 0 or -1. */
int eapp_read_sector(unsigned long sector, void *buffer);
int eapp_write_sector(unsigned long sector, const void *buffer);

/*
 * Penglai-TVM's calls, whose sectors have 4096 bytes.  One passes at the start of the shared memory that the host
 * has named by PLenclave_fs_persistency_init, which this enclave must have as well; -1 before that.
 */
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

/* Works as EAPP_YIELD; and as EAPP_YIELD(); */
#define EAPP_YIELD (*eapp_yielded())
typedef int eapp_nothing(void);
eapp_nothing *eapp_yielded(void);

#ifdef __cplusplus
}
#endif
#endif /* __ASSEMBLER__ */
#endif
