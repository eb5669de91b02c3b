/*
 * Faults of the program, before they take their course: a handler says which block the access was about, and lets the
 * instruction fault once more, without a handler.
 */
#include <stdio.h>
#include "blocks.h"
#include "eapp.h"
#include "ocall.h"

#ifdef EAPP_PORTABLE
void heapcheck_watch(void) /* the original has no events: the fault has no message, but a backtrace */
{
}
#else

#define FAULTS 1
#define STACK_BYTES 16384
#define STORE_PAGE_FAULT 15
#define REGISTER_A6 16
#define REGISTER_A7 17
#define TEXT 256

/* pc, x1 to x31: what the program goes on with. */
hidden unsigned long heapcheck_registers[32];
hidden char heapcheck_stack[STACK_BYTES] __attribute__((aligned(16)));
hidden void heapcheck_handler(void);
hidden void heapcheck_fault(void) __attribute__((noreturn, used));

/* a6 and a7 are the handler's: the monitor has kept what was in them. */
__asm__(".pushsection .text.heapcheck_handler, \"ax\"\n"
        ".globl heapcheck_handler\n"
        ".hidden heapcheck_handler\n"
        "heapcheck_handler:\n"
        "    lla a6, heapcheck_registers\n"
        "    .irp n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
        "    sd x\\n, 8*\\n(a6)\n"
        "    .endr\n"
        "    lla sp, heapcheck_stack\n"
        "    li a7, 16384\n"
        "    add sp, sp, a7\n"
        "    call heapcheck_fault\n"
        "    unimp\n"
        ".popsection\n");

/* The text goes to the host as it is: the C library's console makes system calls, which a handler must not. */
static void say(const char *text)
{
    size_t used = 0;
    for (; text[used] && used < TEXT - 1; used++)
        EAPP_KERNEL_BUFFER[used] = text[used];
    EAPP_KERNEL_BUFFER[used] = 0;
    eapp_ocall(OCALL_WRITE, 0);
}

static void explain(unsigned long cause, unsigned long address)
{
    char text[TEXT];
    const struct block *near = heapcheck_near(address);
    if (!near)
        return;
    const char *what = cause == STORE_PAGE_FAULT ? "store" : "load";
    unsigned long end = near->start + near->size;
    if (near->freed_by)
        snprintf(
            text, sizeof text,
            "heapcheck: %s in the block of %lu bytes at %#lx, made at %#lx, after it was freed at %#lx\n",
            what, near->size, near->start, near->made_by, near->freed_by);
    else if (address >= end)
        snprintf(text, sizeof text,
                 "heapcheck: %s %lu bytes behind the end of the block of %lu bytes at %#lx, made at %#lx\n",
                 what, address - end, near->size, near->start, near->made_by);
    else
        snprintf(text, sizeof text,
                 "heapcheck: %s %lu bytes before the block of %lu bytes at %#lx, made at %#lx\n", what,
                 near->start - address, near->size, near->start, near->made_by);
    say(text);
}

/* Where the program was, which is what the monitor tells besides the registers that the handler has saved. */
void heapcheck_fault(void)
{
    register unsigned long a0 __asm__("a0") = 0;
    register unsigned long a1 __asm__("a1");
    register unsigned long a2 __asm__("a2");
    register unsigned long a3 __asm__("a3");
    register unsigned long a4 __asm__("a4");
    register long a6 __asm__("a6") = EAPP_ECALL_EXTENSION;
    register long a7 __asm__("a7") = EAPP_ECALL_HANDLER_WHERE;
    __asm__ volatile("ecall"
                     : "+r"(a0), "=r"(a1), "=r"(a2), "=r"(a3), "=r"(a4)
                     : "r"(a6), "r"(a7)
                     : "memory");
    unsigned long cause = a3, address = a4;
    heapcheck_registers[0] = a0;
    heapcheck_registers[REGISTER_A6] = a1;
    heapcheck_registers[REGISTER_A7] = a2;
    explain(cause, address);
    eapp_ecall(EAPP_ECALL_SET_EVENTS, 0, 0, 0);
    eapp_ecall(EAPP_ECALL_HANDLER_GO, (unsigned long)heapcheck_registers, 0, 0);
    __builtin_unreachable();
}

void heapcheck_watch(void)
{
    eapp_ecall(EAPP_ECALL_SET_EVENTS, (unsigned long)heapcheck_handler, FAULTS, 0);
}

#endif
