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
 */
#ifndef PENGLAI_EAPP_H
#define PENGLAI_EAPP_H

#ifdef __cplusplus
extern "C" {
#endif

/* Functions of an ecall: a7; a6 tells that it is Penglai's. */
#define EAPP_ECALL_EXTENSION 0x100101
#define EAPP_ECALL_EXIT 99
#define EAPP_ECALL_OCALL 98
#define EAPP_ECALL_OWN_ID 90
#define EAPP_ECALL_YIELD 89

#define EAPP_PAGE_SIZE 4096

/* Marks main: the SDK's entry code, which the linker puts at 0x1000, calls it. */
#define EAPP_ENTRY __attribute__((section(".text._start"), used))

/*
 * Points the variable `args` at the registers as they were when the enclave began: args[N] is xN, so
 * args[10] is a0.  The entry code has saved them, so it works wherever it stands and however it is compiled.
 */
#define EAPP_RESERVE_REG (args = eapp_entry_registers)

/* Ends the enclave with a value for its host; does not return. */
#define EAPP_RETURN(value) eapp_exit((unsigned long)(value))

/* Gives the hart to others; both EAPP_YIELD; and EAPP_YIELD(); do. */
#define EAPP_YIELD (*eapp_yield())

extern unsigned long *eapp_entry_registers;

/* An ecall to the monitor; the result is what it leaves in a0, -1 for a call that it does not know. */
static inline long eapp_ecall(long function, unsigned long a, unsigned long b, unsigned long c)
{
    register unsigned long a0 __asm__("a0") = a;
    register unsigned long a1 __asm__("a1") = b;
    register unsigned long a2 __asm__("a2") = c;
    register long a6 __asm__("a6") = EAPP_ECALL_EXTENSION;
    register long a7 __asm__("a7") = function;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a6), "r"(a7) : "memory");
    return (long)a0;
}

/* Ends the enclave; value reaches the host. */
void eapp_exit(unsigned long value) __attribute__((noreturn));

/* The id by which the host knows this enclave. */
unsigned long get_enclave_id(void);

/*
 * Moves the end of the heap by delta bytes, a multiple of 4096, and returns the new end; the heap begins
 * at 0x1000000000.  sbrk(0) returns the end as it is, (void *)-1 tells that it could not be moved.
 */
void *sbrk(long delta);

typedef void eapp_nothing(void);
eapp_nothing *eapp_yield(void);

#ifdef __cplusplus
}
#endif
#endif
