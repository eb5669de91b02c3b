/*
 * For entry.S: the registers that compiled code may change, but for t0, which lies at 8(sp), and a0, the result.
 * The lines are of the assembler, which has no other way to say a list of pairs.
 */
/* clang-format off */
        .macro  eapp_each op
        \op     ra, 0(sp)
        \op     t1, 16(sp)
        \op     t2, 24(sp)
        \op     t3, 32(sp)
        \op     t4, 40(sp)
        \op     t5, 48(sp)
        \op     t6, 56(sp)
        \op     a1, 64(sp)
        \op     a2, 72(sp)
        \op     a3, 80(sp)
        \op     a4, 88(sp)
        \op     a5, 96(sp)
        .endm
