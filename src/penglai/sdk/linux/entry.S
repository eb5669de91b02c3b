# Where a packed program begins, and where the monitor sends its system calls and events.
#
# The personality runs on the enclave's own stack; the program has another one.  A frame has pc at 0, xN at 8*N,
# f0..f31 from 256 on, fcsr at 512.

#define FRAME_F 256
#define FRAME_FCSR 512

        .macro  save
        lla     a6, linux_current
        ld      a6, 0(a6)
        .irp    n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        sd      x\n, 8*\n(a6)
        .endr
        li      sp, 0x38
        slli    sp, sp, 32
        mv      a0, a6
        .endm

        .section .text._entry, "ax"
        .globl  _start
_start:
        call    linux_begin
        unimp

# All registers are the call's; a6 is free, for the monitor puts it back, and a7 is the number.
        .globl  linux_handler
        .balign 4
linux_handler:
        save
        call    linux_system_call
        lla     a6, linux_current
        ld      a6, 0(a6)
        .irp    n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        ld      x\n, 8*\n(a6)
        .endr
        li      a6, 0x100101
        li      a7, 2
        ecall
        unimp

        .globl  linux_event_handler
        .balign 4
linux_event_handler:
        save
        call    linux_event
        unimp

# void linux_where(unsigned long out[5])
        .globl  linux_where
linux_where:
        mv      a5, a0
        li      a6, 0x100101
        li      a7, 5
        ecall
        sd      a0, 0(a5)
        sd      a1, 8(a5)
        sd      a2, 16(a5)
        sd      a3, 24(a5)
        sd      a4, 32(a5)
        ret

# The monitor takes the registers from here.
        .globl  linux_go
linux_go:
        li      a6, 0x100101
        li      a7, 6
        ecall
        unimp

        .option push
        .option arch, +f, +d
        .globl  linux_save_floats
linux_save_floats:
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        fsd     f\n, FRAME_F+8*\n(a0)
        .endr
        frcsr   t0
        sd      t0, FRAME_FCSR(a0)
        ret

        .globl  linux_load_floats
linux_load_floats:
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        fld     f\n, FRAME_F+8*\n(a0)
        .endr
        ld      t0, FRAME_FCSR(a0)
        fscsr   t0
        ret
        .option pop

# Where handlers of signals return to.
        .globl  linux_signal_return
        .balign 4
linux_signal_return:
        li      a7, 139
        ecall
        unimp
