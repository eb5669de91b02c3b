#include "eapp.h"
#include "registers.h"

# Where every enclave begins, also a server for each of its calls: pc = _start, sp = top of the stack,
# a0..a4 from the monitor, every other register zero.

        .section .text._entry, "ax"
        .globl  _start, eapp_start
_start:
eapp_start:
        # x0..x31 as at the entry, xN at 8*N, before any compiled code can change them; sp is the one below.
        addi    sp, sp, -256
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        sd      x\n, 8*\n(sp)
        .endr
        .option push
        .option norelax
        lla     gp, __global_pointer$
        .option pop
        mv      a0, sp
        lla     t0, eapp_thread_pointer
        ld      tp, 0(t0)
        call    eapp_begin
        unimp

# Where the monitor sends the system calls of the C library: every register is as it was at the ecall, and
# has to be so again, but a0, the result.  The monitor itself puts a6 and a7 back.  The compiled part uses no
# floating-point register.

        .section .text.eapp_handler, "ax"
        .globl  eapp_handler
eapp_handler:
        addi    sp, sp, -112
        sd      t0, 8(sp)
        eapp_each sd
        mv      a6, a7
        call    eapp_system_call
        eapp_each ld
        ld      t0, 8(sp)
        addi    sp, sp, 112
        li      a6, EAPP_ECALL_EXTENSION
        li      a7, EAPP_ECALL_HANDLER_RETURN
        ecall
        unimp
