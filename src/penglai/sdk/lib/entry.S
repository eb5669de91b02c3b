# Where every enclave begins, also a server for each of its calls: pc = eapp_start, sp = top of the stack,
# a0..a4 from the monitor, every other register zero.

        .section .text._entry, "ax"
        .globl  eapp_start
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
        sd      ra, 0(sp)
        sd      t0, 8(sp)
        sd      t1, 16(sp)
        sd      t2, 24(sp)
        sd      t3, 32(sp)
        sd      t4, 40(sp)
        sd      t5, 48(sp)
        sd      t6, 56(sp)
        sd      a1, 64(sp)
        sd      a2, 72(sp)
        sd      a3, 80(sp)
        sd      a4, 88(sp)
        sd      a5, 96(sp)
        mv      a6, a7
        call    eapp_system_call
        ld      ra, 0(sp)
        ld      t0, 8(sp)
        ld      t1, 16(sp)
        ld      t2, 24(sp)
        ld      t3, 32(sp)
        ld      t4, 40(sp)
        ld      t5, 48(sp)
        ld      t6, 56(sp)
        ld      a1, 64(sp)
        ld      a2, 72(sp)
        ld      a3, 80(sp)
        ld      a4, 88(sp)
        ld      a5, 96(sp)
        addi    sp, sp, 112
        li      a6, 0x100101
        li      a7, 2
        ecall
        unimp
