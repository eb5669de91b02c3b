/* Translates loads, stores and atomics.  The one file that emits accesses to the guest's memory. */
#include "native.h"

/*
 * The operand of an access.  The base is known to be in the window from here on in this block, or the address is a
 * constant that is in it; the offset of 12 bits stays between the guards.  One access of the host for one of the
 * guest, and nothing of the instruction before it: a fault leaves everything as it was.
 */
static struct place guest_place(struct translator *t, unsigned base, int32_t offset, enum reg scratch)
{
    uint64_t address = (base ? t->values[base] : 0) + (uint64_t)(int64_t)offset;
    if ((!base || t->known >> base & 1) && address <= INT32_MAX - 8)
        return in_guest(NO_REG, (int32_t)address);
    enum reg reg = source(t, base, scratch);
    if (!(t->checked >> base & 1)) {
        emit(&t->b, I_CMP | REX_W, reg, in_reg(R15));
        leave_if(t, CC_A, LEFT_ELSEWHERE);
        t->checked |= 1u << base;
    }
    return in_guest(reg, offset);
}

static void translate_load(struct translator *t, const struct insn *i)
{
    static const uint32_t ops[] = {
        I_MOVSX8 | REX_W, I_MOVSX16 | REX_W, I_MOVSXD | REX_W, I_MOV | REX_W, I_MOVZX8, I_MOVZX16, I_MOV,
    };
    struct place place = guest_place(t, i->rs1, i->imm, RAX);
    enum reg to = i->rd ? target(t, i->rd, RCX) : RCX;
    emit(&t->b, ops[i->op - OP_LB], to, place);
    if (i->rd)
        store_x(t, i->rd, to);
}

static void translate_store(struct translator *t, const struct insn *i)
{
    static const uint32_t ops[] = {I_STORE8, I_STORE16, I_STORE, I_STORE | REX_W};
    struct place place = guest_place(t, i->rs1, i->imm, RAX);
    emit(&t->b, ops[i->op - OP_SB], source(t, i->rs2, RCX), place);
}

static void translate_float_load(struct translator *t, const struct insn *i)
{
    struct place place = guest_place(t, i->rs1, i->imm, RAX);
    unsigned to = float_target(t, i->rd, 0);
    emit(&t->b, i->wide ? I_MOVSD_LOAD : I_MOVSS_LOAD, to, place);
    if (!i->wide)
        emit(&t->b, I_ORPS, to, constant(C_BOX));
    store_f(t, i->rd, to);
    if (!i->wide)
        t->boxed |= 1u << i->rd;
}

static void translate_float_store(struct translator *t, const struct insn *i)
{
    struct place place = guest_place(t, i->rs1, i->imm, RAX);
    emit(&t->b, i->wide ? I_MOVSD_STORE : I_MOVSS_STORE, float_source(t, i->rs2, 0), place);
}

bool translate_memory(struct translator *t, const struct insn *i)
{
    if (i->op >= OP_LB && i->op <= OP_LWU)
        translate_load(t, i);
    else if (i->op >= OP_SB && i->op <= OP_SD)
        translate_store(t, i);
    else if (i->op == OP_FL)
        translate_float_load(t, i);
    else if (i->op == OP_FS)
        translate_float_store(t, i);
    else
        return false;
    return true;
}

/* ---- atomics ---------------------------------------------------------------------------------- */

/* The operand of an atomic, in rdx if in no other register; one that is not aligned is left to the other engine. */
static struct place atomic_place(struct translator *t, const struct insn *i)
{
    t->known &= ~(1u << i->rs1);
    struct place place = guest_place(t, i->rs1, 0, RDX);
    emit(&t->b, I_UNARY, G_TEST, in_reg(place.base));
    put32(&t->b, i->wide ? 7 : 3);
    leave_if(t, CC_NE, LEFT_ELSEWHERE);
    return place;
}

static void store_atomic(struct translator *t, const struct insn *i, enum reg reg)
{
    if (!i->wide)
        emit(&t->b, I_MOVSXD | REX_W, reg, in_reg(reg));
    if (i->rd)
        store_x(t, i->rd, reg);
}

/* rcx = what is to be stored, from the old value in rax. */
static void combine(struct translator *t, const struct insn *i)
{
    uint32_t w = i->wide ? REX_W : 0;
    struct place other = operand(t, i->rs2);
    emit(&t->b, I_MOV | w, RCX, in_reg(RAX));
    switch (i->op) {
    case OP_AMOXOR:
        emit(&t->b, I_XOR | w, RCX, other);
        return;
    case OP_AMOAND:
        emit(&t->b, I_AND | w, RCX, other);
        return;
    case OP_AMOOR:
        emit(&t->b, I_OR | w, RCX, other);
        return;
    }
    enum condition takes_other = i->op == OP_AMOMIN    ? CC_G
                                 : i->op == OP_AMOMAX  ? CC_L
                                 : i->op == OP_AMOMINU ? CC_A
                                                       : CC_B;
    emit(&t->b, I_CMP | w, RAX, other);
    emit(&t->b, (I_CMOV + takes_other) | w, RCX, other);
}

static void translate_amo(struct translator *t, const struct insn *i)
{
    uint32_t w = i->wide ? REX_W : 0;
    struct place place = atomic_place(t, i);
    if (i->op == OP_AMOADD || i->op == OP_AMOSWAP) {
        load_x(t, RAX, i->rs2);
        emit(&t->b, (i->op == OP_AMOADD ? I_XADD | LOCK : I_XCHG) | w, RAX, place);
        store_atomic(t, i, RAX);
        return;
    }
    emit(&t->b, I_MOV | w, RAX, place);
    uint32_t again = (uint32_t)t->b.used;
    combine(t, i);
    emit(&t->b, I_CMPXCHG | LOCK | w, RCX, place);
    land_at(&t->b, emit_jcc(&t->b, CC_NE), again);
    store_atomic(t, i, RAX);
}

/* Where the reservation is, and for how many bytes: rcx, as `reserved_at` has it. */
static void describe_reservation(struct translator *t, const struct insn *i, enum reg base)
{
    emit(&t->b, I_LEA | REX_W, RCX, at(base, i->wide ? 1 : 0));
}

static void translate_lr(struct translator *t, const struct insn *i)
{
    struct place place = atomic_place(t, i);
    emit(&t->b, i->wide ? I_MOV | REX_W : I_MOVSXD | REX_W, RAX, place);
    describe_reservation(t, i, place.base);
    emit(&t->b, I_STORE | REX_W, RCX, in_frame(offsetof(struct frame, reserved_at)));
    emit(&t->b, I_STORE | REX_W, RAX, in_frame(offsetof(struct frame, reserved_value)));
    if (i->rd)
        store_x(t, i->rd, RAX);
}

/* Stores if memory holds what lr found there: another value that came and went in between is not seen. */
static void translate_sc(struct translator *t, const struct insn *i)
{
    struct buffer *b = &t->b;
    struct place place = atomic_place(t, i);
    describe_reservation(t, i, place.base);
    emit(b, I_CMP | REX_W, RCX, in_frame(offsetof(struct frame, reserved_at)));
    emit_constant(b, RCX, 1);
    uint32_t none = emit_jcc(b, CC_NE);
    emit(b, I_MOV | REX_W, RAX, in_frame(offsetof(struct frame, reserved_value)));
    load_x(t, RCX, i->rs2);
    emit(b, I_CMPXCHG | LOCK | (i->wide ? REX_W : 0), RCX, place);
    emit_setcc(b, CC_NE, RCX);
    emit(b, I_MOVZX8, RCX, in_reg(RCX));
    land(b, none);
    emit_store_constant(b, in_frame(offsetof(struct frame, reserved_at)), -1);
    if (i->rd)
        store_x(t, i->rd, RCX);
}

bool translate_atomic(struct translator *t, const struct insn *i)
{
    if (!i->rs1)
        return false;
    if (i->op == OP_LR)
        translate_lr(t, i);
    else if (i->op == OP_SC)
        translate_sc(t, i);
    else if (i->op >= OP_AMOSWAP && i->op <= OP_AMOMAXU)
        translate_amo(t, i);
    else
        return false;
    return true;
}
