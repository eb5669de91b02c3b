# Where every enclave begins: pc = _start, sp = top of the stack, a0..a4 from the monitor.
# Saves x0..x31 below the top of the stack, xN at 8*N, before any compiled code can change them.

        .section .text._entry, "ax"
        .globl  _start
_start:
        addi    sp, sp, -256
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        sd      x\n, 8*\n(sp)
        .endr
        lla     t0, eapp_entry_registers
        sd      sp, 0(t0)
        call    main
        tail    eapp_exit

        .section .bss.eapp_entry_registers, "aw", @nobits
        .balign 8
        .globl  eapp_entry_registers
eapp_entry_registers:
        .zero   8
