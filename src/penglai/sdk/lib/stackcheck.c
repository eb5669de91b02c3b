/*
 * What -fstack-protector puts behind the local variables of a function, and looks at before it returns.  The C library
 * has these too, and ends a program without a word.
 */
#include <string.h>
#include "runtime.h"

unsigned long __stack_chk_guard = 0x595e9fbd94fda766; /* until the C library begins */

/* Called by the C library at the beginning.  entropy: 16 random bytes, or NULL. */
hidden void __init_ssp(void *entropy);
void __init_ssp(void *entropy)
{
    if (entropy)
        memcpy(&__stack_chk_guard, entropy, sizeof __stack_chk_guard);
    ((unsigned char *)&__stack_chk_guard)[1] = 0; /* texts end there: none overwrites it with itself */
}

/* The fault is for the backtrace; penglai.debug.checks says in words what it is. */
__attribute__((noreturn)) void __stack_chk_fail(void)
{
    static const char said[] = "stack protector: a function has written beyond its local variables\n";
    struct iovec piece = {(void *)said, sizeof said - 1};
    eapp_console_write(&piece, 1);
    for (;;)
        __asm__ volatile("ebreak");
}

hidden __attribute__((noreturn)) void __stack_chk_fail_local(void);
void __stack_chk_fail_local(void)
{
    __stack_chk_fail();
}
