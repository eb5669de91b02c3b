# Where every portable enclave begins, and the gate through which its system calls go.
#
# On the original an ecall that is no call of Penglai's ends the enclave.  So `penglai build --profile tvm` puts
# `jal gp, eapp_gate` in place of every ecall that the linker has collected, but for those of this file: gp is in
# use nowhere else, and an ecall changes no register but a0.  The head tells it where all of that is.

#include "../lib/registers.h"

        .section .text._entry, "ax"
        .globl  _start, eapp_start, eapp_raw_ecall
        .option push
        .option norvc
_start:
eapp_start:
        j       begin
        .ascii  "PENGLAI1"
        .word   eapp_gate - eapp_start
        .word   eapp_gate_end - eapp_start
        .option pop
begin:
        # x0..x31 as at the entry, xN at 8*N, before any compiled code can change them; sp is the one below.
        addi    sp, sp, -256
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        sd      x\n, 8*\n(sp)
        .endr
        mv      a0, sp
        lla     t0, eapp_thread_pointer
        ld      tp, 0(t0)
        call    eapp_begin
        unimp

# long eapp_raw_ecall(a, b, c, function)
eapp_raw_ecall:
        mv      a7, a3
        li      a6, 0x100101
        ecall
        li      a6, 0           # what follows is no call of Penglai's, unless it says so
        ret

# Instead of an ecall, with its registers; gp is the way back.
eapp_gate:
        addi    sp, sp, -128
        sd      t0, 8(sp)
        li      t0, 0x100101
        beq     a6, t0, penglai_call
        eapp_each sd
        sd      a6, 104(sp)
        sd      a7, 112(sp)
        sd      gp, 120(sp)
        mv      a6, a7
        call    eapp_system_call
        eapp_each ld
        ld      t0, 8(sp)
        ld      a6, 104(sp)
        ld      a7, 112(sp)
        ld      gp, 120(sp)
        addi    sp, sp, 128
        jr      gp
penglai_call:
        ld      t0, 8(sp)
        addi    sp, sp, 128
        ecall
        jr      gp
eapp_gate_end:
