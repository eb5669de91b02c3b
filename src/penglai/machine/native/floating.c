/*
 * Translates F and D.
 *
 * The sticky bits of MXCSR are fflags (registers of the frame: dispatch.c), and its rounding mode is frm; an
 * instruction with a rounding mode of its own is left to the other engine, unless it rounds to zero, or nothing.
 *
 * A NaN that the host makes has the sign and bits of an operand, the guest's has always the same: each result is
 * compared with itself.  Single precision stands in the lower half of a register whose upper half is all ones; a
 * register that has something else there is read as a NaN, by the other engine.
 */
#include "native.h"

/* vex prefixes of scalar arithmetic */
enum { VEX_SINGLE = 2, VEX_DOUBLE = 3 };

static uint32_t scalar(const struct insn *i)
{
    return i->wide ? PF2 : PF3;
}

/* ucomis and comis, whose forms differ by the prefix 66. */
static uint32_t compares(bool wide, uint32_t op)
{
    return wide ? op | P66 : op;
}

static bool is_exact(const struct insn *i)
{
    return i->op == OP_FCVT_D_S || (i->wide && (i->op == OP_FCVT_F_W || i->op == OP_FCVT_F_WU));
}

/* Leaves unless f holds single precision. */
static void require_single(struct translator *t, unsigned f)
{
    if (t->boxed >> f & 1)
        return;
    if (t->code->float_map[f] == NO_REG) {
        emit_imm(&t->b, 0, G_CMP, in_frame(offsetof(struct frame, c.f) + 8 * f + 4), -1);
    } else {
        emit(&t->b, I_MOVD_FROM | REX_W, t->code->float_map[f], in_reg(RAX));
        emit_shift(&t->b, REX_W, G_SAR, in_reg(RAX), 32);
        emit_imm(&t->b, 0, G_CMP, in_reg(RAX), -1);
    }
    leave_if(t, CC_NE, LEFT_ELSEWHERE);
    t->boxed |= 1u << f;
}

static void require(struct translator *t, const struct insn *i, unsigned f)
{
    if (!i->wide)
        require_single(t, f);
}

/* The result in xmm becomes f's; of single precision, if that is what the instruction makes. */
static void finish(struct translator *t, unsigned f, unsigned xmm, bool wide)
{
    store_f(t, f, xmm);
    if (!wide)
        t->boxed |= 1u << f;
}

static void add_nan(struct translator *t, struct nan nan)
{
    emit(&t->b, compares(nan.insn.wide, I_UCOMIS), nan.xmm, in_reg((enum reg)nan.xmm));
    nan.from = emit_jcc(&t->b, CC_P);
    nan.back = (uint32_t)t->b.used;
    nan.pc = t->b.pc;
    if (append((void **)&t->nans, &t->nan_room, t->nan_count, sizeof *t->nans, &t->b.failed))
        t->nans[t->nan_count++] = nan;
}

/* A NaN becomes the one that RISC-V has; wide: that of double precision. */
static void make_canonical(struct translator *t, unsigned xmm, bool wide)
{
    add_nan(t, (struct nan){.insn = {.wide = wide}, .xmm = (uint8_t)xmm});
}

static void translate_two(struct translator *t, const struct insn *i, uint32_t op)
{
    require(t, i, i->rs1);
    require(t, i, i->rs2);
    unsigned first = float_source(t, i->rs1, 1), to = float_target(t, i->rd, 0);
    struct vex vex = {(uint8_t)op, 1, i->wide ? VEX_DOUBLE : VEX_SINGLE, false};
    emit_vex(&t->b, vex, to, first, float_operand(t, i->rs2)); /* the upper half is the first operand's */
    make_canonical(t, to, i->wide);
    finish(t, i->rd, to, i->wide);
}

static void translate_root(struct translator *t, const struct insn *i)
{
    require(t, i, i->rs1);
    unsigned from = float_source(t, i->rs1, 1), to = float_target(t, i->rd, 0);
    struct vex vex = {(uint8_t)I_FSQRT, 1, i->wide ? VEX_DOUBLE : VEX_SINGLE, false};
    emit_vex(&t->b, vex, to, from, in_reg((enum reg)from));
    make_canonical(t, to, i->wide);
    finish(t, i->rd, to, i->wide);
}

/*
 * Of infinity times zero plus a NaN the host says nothing, and RISC-V does: a NaN that comes of one in the third
 * operand, and of none in the factors, is left to the other engine if one of these is zero.
 */
static void settle_fused_nan(struct translator *t, const struct nan *nan)
{
    struct buffer *b = &t->b;
    const struct insn *i = &nan->insn;
    uint32_t w = i->wide ? REX_W : 0;
    load_f(t, 2, i->rs1);
    emit(b, compares(i->wide, I_UCOMIS), 2, in_reg((enum reg)nan->second));
    uint32_t of_factor = emit_jcc(b, CC_P);
    const unsigned factors[] = {2, nan->second};
    for (unsigned k = 0; k < 2; k++) { /* twice the bits are those without the sign */
        emit(b, I_MOVD_FROM | w, factors[k], in_reg(RAX));
        emit(b, I_ADD | w, RAX, in_reg(RAX));
        leave_if(t, CC_E, LEFT_ELSEWHERE);
    }
    land(b, of_factor);
}

void translate_nans(struct translator *t)
{
    struct buffer *b = &t->b;
    for (size_t k = 0; k < t->nan_count; k++) {
        const struct nan *nan = &t->nans[k];
        land(b, nan->from);
        b->pc = nan->pc;
        if (nan->fused)
            settle_fused_nan(t, nan);
        emit(b, I_MOVQ_LOAD, nan->xmm, constant(C_NAN + (nan->insn.wide ? 0 : 2)));
        land_at(b, emit_jmp(b), nan->back);
    }
}

static void translate_fused(struct translator *t, const struct insn *i)
{
    static const uint8_t codes[] = {0xa9, 0xab, 0xad, 0xaf}; /* of fmadd, fmsub, fnmsub, fnmadd: 213 */
    require(t, i, i->rs1);
    require(t, i, i->rs2);
    require(t, i, i->rs3);
    load_f(t, 0, i->rs1);
    unsigned second = float_source(t, i->rs2, 1);
    struct vex vex = {codes[i->op - OP_FMADD], 2, 1, i->wide};
    emit_vex(&t->b, vex, 0, second, float_operand(t, i->rs3));
    add_nan(t, (struct nan){.insn = *i, .second = (uint8_t)second, .fused = true});
    finish(t, i->rd, 0, i->wide);
}

static void translate_sign(struct translator *t, const struct insn *i)
{
    struct buffer *b = &t->b;
    unsigned width = i->wide ? 0 : 2;
    require(t, i, i->rs1);
    require(t, i, i->rs2);
    if (i->op == OP_FSGNJ && i->rs1 == i->rs2) {
        unsigned from = float_source(t, i->rs1, 0);
        finish(t, i->rd, from, i->wide);
        return;
    }
    load_f(t, 1, i->rs2);
    if (i->op == OP_FSGNJN)
        emit(b, I_ANDNPS, 1, constant(C_SIGN + width));
    else
        emit(b, I_ANDPS, 1, constant(C_SIGN + width));
    load_f(t, 0, i->rs1);
    if (i->op != OP_FSGNJX)
        emit(b, I_ANDPS, 0, constant(C_MAGNITUDE + width));
    emit(b, i->op == OP_FSGNJX ? I_XORPS : I_ORPS, 0, in_reg(1));
    finish(t, i->rd, 0, i->wide);
}

/* Equal operands differ at most in the sign, which a bit operation settles.  Of one NaN and a number, the number. */
static void translate_extreme(struct translator *t, const struct insn *i)
{
    struct buffer *b = &t->b;
    bool least = i->op == OP_FMIN;
    require(t, i, i->rs1);
    require(t, i, i->rs2);
    load_f(t, 0, i->rs1);
    unsigned second = float_source(t, i->rs2, 1);
    emit(b, compares(i->wide, I_UCOMIS), 0, in_reg((enum reg)second));
    uint32_t number = emit_jcc(b, CC_NP);
    emit(b, compares(i->wide, I_UCOMIS), second, in_reg((enum reg)second));
    uint32_t both = emit_jcc(b, CC_P);
    emit(b, I_MOVAPS, 0, in_reg((enum reg)second));
    land(b, both);
    make_canonical(t, 0, i->wide);
    uint32_t settled = emit_jmp(b);
    land(b, number);
    uint32_t differ = emit_jcc(b, CC_NE);
    emit(b, least ? I_ORPS : I_ANDPS, 0, in_reg((enum reg)second));
    uint32_t done = emit_jmp(b);
    land(b, differ);
    emit(b, (least ? I_FMIN : I_FMAX) | scalar(i), 0, in_reg((enum reg)second));
    land(b, done);
    land(b, settled);
    finish(t, i->rd, 0, i->wide);
}

static void store_bool(struct translator *t, unsigned rd)
{
    if (!rd)
        return;
    enum reg to = target(t, rd, RAX);
    emit(&t->b, I_MOVZX8, to, in_reg(RAX));
    store_x(t, rd, to);
}

static void translate_equal(struct translator *t, const struct insn *i)
{
    emit(&t->b, compares(i->wide, I_UCOMIS), float_source(t, i->rs1, 1), float_operand(t, i->rs2));
    emit_setcc(&t->b, CC_NP, RCX);
    emit_setcc(&t->b, CC_E, RAX);
    emit(&t->b, I_AND, RAX, in_reg(RCX));
    store_bool(t, i->rd);
}

/* a < b as b > a: false of NaNs. */
static void translate_compare(struct translator *t, const struct insn *i)
{
    require(t, i, i->rs1);
    require(t, i, i->rs2);
    if (i->op == OP_FEQ) {
        translate_equal(t, i);
        return;
    }
    emit(&t->b, compares(i->wide, I_COMIS), float_source(t, i->rs2, 1), float_operand(t, i->rs1));
    t->truth_condition = i->op == OP_FLT ? CC_A : CC_AE;
    emit_setcc(&t->b, t->truth_condition, RAX);
    store_bool(t, i->rd); /* which leaves the flags as they are */
    t->truth = i->rd;
    t->truth_at = t->b.used;
}

/* ---- conversions ------------------------------------------------------------------------------ */

static uint32_t conversion(const struct insn *i)
{
    return (i->rm == RM_TO_ZERO ? I_CVTT : I_CVT) | scalar(i);
}

/* What does not fit comes as the smallest number, which is looked at by the other engine. */
static void translate_to_signed(struct translator *t, const struct insn *i, bool word)
{
    uint32_t w = word ? 0 : REX_W;
    require(t, i, i->rs1);
    emit(&t->b, conversion(i) | w, RAX, float_operand(t, i->rs1));
    emit_imm(&t->b, w, G_CMP, in_reg(RAX), 1);
    leave_if(t, CC_O, LEFT_ELSEWHERE);
    if (word)
        emit(&t->b, I_MOVSXD | REX_W, RAX, in_reg(RAX));
    if (i->rd)
        store_x(t, i->rd, RAX);
}

/* Through a signed one of 64 bits; what is not between -1 and the limit is left to the other engine. */
static void translate_to_unsigned(struct translator *t, const struct insn *i, bool word)
{
    unsigned limits = C_LIMITS + (i->wide ? 0 : 3);
    require(t, i, i->rs1);
    unsigned from = float_source(t, i->rs1, 1);
    emit(&t->b, compares(i->wide, I_UCOMIS), from, constant(limits + (word ? 1 : 2)));
    leave_if(t, CC_AE, LEFT_ELSEWHERE);
    emit(&t->b, compares(i->wide, I_UCOMIS), from, constant(limits));
    leave_if(t, CC_BE, LEFT_ELSEWHERE);
    emit(&t->b, conversion(i) | REX_W, RAX, in_reg((enum reg)from));
    if (word)
        emit(&t->b, I_MOVSXD | REX_W, RAX, in_reg(RAX));
    if (i->rd)
        store_x(t, i->rd, RAX);
}

static void translate_from_integer(struct translator *t, const struct insn *i)
{
    struct buffer *b = &t->b;
    bool word = i->op == OP_FCVT_F_W;
    struct place from = operand(t, i->rs1);
    if (i->op == OP_FCVT_F_WU) {
        emit(b, I_MOV, RAX, from);
        from = in_reg(RAX);
    } else if (i->op == OP_FCVT_F_LU) {
        load_x(t, RAX, i->rs1);
        emit(b, I_TEST | REX_W, RAX, in_reg(RAX));
        leave_if(t, CC_S, LEFT_ELSEWHERE);
        from = in_reg(RAX);
    }
    if (i->wide)
        emit(b, I_XORPS, 0, in_reg(0));
    else
        emit(b, I_MOVAPS, 0, constant(C_BOX));
    emit(b, I_CVT_TO_F | scalar(i) | (word ? 0 : REX_W), 0, from);
    finish(t, i->rd, 0, i->wide);
}

static void translate_to_double(struct translator *t, const struct insn *i)
{
    require_single(t, i->rs1);
    unsigned from = float_source(t, i->rs1, 1);
    emit(&t->b, I_XORPS, 0, in_reg(0));
    emit(&t->b, I_CVT_F | PF3, 0, in_reg((enum reg)from));
    make_canonical(t, 0, true);
    finish(t, i->rd, 0, true);
}

static void translate_to_single(struct translator *t, const struct insn *i)
{
    unsigned from = float_source(t, i->rs1, 1);
    emit(&t->b, I_MOVAPS, 0, constant(C_BOX));
    emit(&t->b, I_CVT_F | PF2, 0, in_reg((enum reg)from));
    make_canonical(t, 0, false);
    finish(t, i->rd, 0, false);
}

static void translate_move_to_integer(struct translator *t, const struct insn *i)
{
    if (!i->rd)
        return;
    if (t->code->float_map[i->rs1] == NO_REG) {
        emit(&t->b, i->wide ? I_MOV | REX_W : I_MOVSXD | REX_W, RAX, float_operand(t, i->rs1));
    } else {
        emit(&t->b, I_MOVD_FROM | (i->wide ? REX_W : 0), t->code->float_map[i->rs1], in_reg(RAX));
        if (!i->wide)
            emit(&t->b, I_MOVSXD | REX_W, RAX, in_reg(RAX));
    }
    store_x(t, i->rd, RAX);
}

static void translate_move_to_float(struct translator *t, const struct insn *i)
{
    enum reg from = source(t, i->rs1, RAX);
    emit(&t->b, I_MOVD_TO | (i->wide ? REX_W : 0), 0, in_reg(from));
    if (!i->wide)
        emit(&t->b, I_ORPS, 0, constant(C_BOX));
    finish(t, i->rd, 0, i->wide);
}

/* Whether the host rounds it as the instruction wants. */
static bool rounds_alike(const struct insn *i)
{
    bool arithmetic = i->op >= OP_FMADD && i->op <= OP_FSQRT;
    bool to_signed = i->op == OP_FCVT_W_F || i->op == OP_FCVT_L_F;
    bool to_unsigned = i->op == OP_FCVT_WU_F || i->op == OP_FCVT_LU_F;
    bool from_integer = i->op >= OP_FCVT_F_W && i->op <= OP_FCVT_F_LU;
    if (to_unsigned)
        return i->rm == RM_TO_ZERO;
    if (to_signed)
        return i->rm == RM_TO_ZERO || i->rm == RM_DYNAMIC;
    if (arithmetic || from_integer || i->op == OP_FCVT_S_D || i->op == OP_FCVT_D_S)
        return i->rm == RM_DYNAMIC || is_exact(i);
    return true;
}

bool translate_floating(struct translator *t, const struct insn *i)
{
    if (!rounds_alike(i))
        return false;
    switch (i->op) {
    case OP_FMADD:
    case OP_FMSUB:
    case OP_FNMSUB:
    case OP_FNMADD:
        translate_fused(t, i);
        return true;
    case OP_FADD:
        translate_two(t, i, I_FADD);
        return true;
    case OP_FSUB:
        translate_two(t, i, I_FSUB);
        return true;
    case OP_FMUL:
        translate_two(t, i, I_FMUL);
        return true;
    case OP_FDIV:
        translate_two(t, i, I_FDIV);
        return true;
    case OP_FSQRT:
        translate_root(t, i);
        return true;
    case OP_FSGNJ:
    case OP_FSGNJN:
    case OP_FSGNJX:
        translate_sign(t, i);
        return true;
    case OP_FMIN:
    case OP_FMAX:
        translate_extreme(t, i);
        return true;
    case OP_FLE:
    case OP_FLT:
    case OP_FEQ:
        translate_compare(t, i);
        return true;
    case OP_FCVT_W_F:
    case OP_FCVT_L_F:
        translate_to_signed(t, i, i->op == OP_FCVT_W_F);
        return true;
    case OP_FCVT_WU_F:
    case OP_FCVT_LU_F:
        translate_to_unsigned(t, i, i->op == OP_FCVT_WU_F);
        return true;
    case OP_FCVT_F_W:
    case OP_FCVT_F_WU:
    case OP_FCVT_F_L:
    case OP_FCVT_F_LU:
        translate_from_integer(t, i);
        return true;
    case OP_FCVT_D_S:
        translate_to_double(t, i);
        return true;
    case OP_FCVT_S_D:
        translate_to_single(t, i);
        return true;
    case OP_FMV_X_F:
        translate_move_to_integer(t, i);
        return true;
    case OP_FMV_F_X:
        translate_move_to_float(t, i);
        return true;
    }
    return false;
}
