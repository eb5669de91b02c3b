/* Translates the integer instructions, M among them. */
#include "native.h"

static void set_constant(struct translator *t, unsigned rd, uint64_t value)
{
    enum reg reg = target(t, rd, RAX);
    emit_constant(&t->b, reg, value);
    store_x(t, rd, reg);
    t->known |= 1u << rd;
    t->values[rd] = value;
}

/* The value of a register if it is known here. */
static bool is_known(const struct translator *t, unsigned x, uint64_t *value)
{
    *value = x ? t->values[x] : 0;
    return !x || t->known >> x & 1;
}

static void translate_addi(struct translator *t, const struct insn *i)
{
    uint64_t value;
    if (is_known(t, i->rs1, &value)) {
        set_constant(t, i->rd, value + (uint64_t)(int64_t)i->imm);
        return;
    }
    if (i->rd == i->rs1 && t->code->map[i->rd] == NO_REG) {
        emit_imm(&t->b, REX_W, G_ADD, operand(t, i->rd), i->imm);
        store_x(t, i->rd, NO_REG);
        return;
    }
    enum reg from = source(t, i->rs1, RAX), to = target(t, i->rd, RAX);
    if (to == from && i->imm)
        emit_imm(&t->b, REX_W, G_ADD, in_reg(to), i->imm);
    else if (to != from && i->imm)
        emit(&t->b, I_LEA | REX_W, to, at(from, i->imm));
    else if (to != from)
        emit(&t->b, I_MOV | REX_W, to, in_reg(from));
    store_x(t, i->rd, to);
}

/* rd = the sign extension of what 32 bits in `reg` are. */
static void store_word(struct translator *t, unsigned rd, enum reg reg)
{
    enum reg to = target(t, rd, RAX);
    emit(&t->b, I_MOVSXD | REX_W, to, in_reg(reg));
    store_x(t, rd, to);
}

static void translate_addiw(struct translator *t, const struct insn *i)
{
    if (!i->imm) { /* sext.w */
        enum reg to = target(t, i->rd, RAX);
        emit(&t->b, I_MOVSXD | REX_W, to, operand(t, i->rs1));
        store_x(t, i->rd, to);
        return;
    }
    emit(&t->b, I_LEA, RAX, at(source(t, i->rs1, RAX), i->imm));
    store_word(t, i->rd, RAX);
}

static void set_condition(struct translator *t, unsigned rd, enum condition condition)
{
    emit_setcc(&t->b, condition, RAX);
    emit(&t->b, I_MOVZX8, RAX, in_reg(RAX));
    store_x(t, rd, RAX);
}

static void translate_logic_imm(struct translator *t, const struct insn *i, unsigned group)
{
    enum reg to = target(t, i->rd, RAX);
    load_x(t, to, i->rs1);
    emit_imm(&t->b, REX_W, group, in_reg(to), i->imm);
    store_x(t, i->rd, to);
}

static void extend(struct translator *t, const struct insn *i, uint32_t op)
{
    enum reg to = target(t, i->rd, RAX);
    emit(&t->b, op, to, operand(t, i->rs1));
    store_x(t, i->rd, to);
}

static void translate_shift_imm(struct translator *t, const struct insn *i, unsigned group)
{
    enum reg to = target(t, i->rd, RAX);
    load_x(t, to, i->rs1);
    emit_shift(&t->b, REX_W, group, in_reg(to), (unsigned)i->imm);
    store_x(t, i->rd, to);
}

static void translate_shift_imm32(struct translator *t, const struct insn *i, unsigned group)
{
    emit(&t->b, I_MOV, RAX, operand(t, i->rs1));
    emit_shift(&t->b, 0, group, in_reg(RAX), (unsigned)i->imm);
    store_word(t, i->rd, RAX);
}

/* Without a write to the destination before both sources are read. */
static void translate_two(struct translator *t, const struct insn *i, uint32_t op, bool commutes)
{
    unsigned first = i->rs1, second = i->rs2;
    if (commutes && i->rd == second) {
        second = first;
        first = i->rd;
    }
    const uint8_t *map = t->code->map;
    if (op == I_ADD && map[first] != NO_REG && map[second] != NO_REG && i->rd != first) {
        enum reg sum = target(t, i->rd, RAX);
        emit(&t->b, I_LEA | REX_W, sum, indexed(map[first], map[second], 0));
        store_x(t, i->rd, sum);
        return;
    }
    enum reg to = i->rd == second && i->rd != first ? RAX : target(t, i->rd, RAX);
    load_x(t, to, first);
    emit(&t->b, op | REX_W, to, operand(t, second));
    store_x(t, i->rd, to);
}

static void translate_two32(struct translator *t, const struct insn *i, uint32_t op)
{
    emit(&t->b, I_MOV, RAX, operand(t, i->rs1));
    emit(&t->b, op, RAX, operand(t, i->rs2));
    store_word(t, i->rd, RAX);
}

enum { SHLX = 1, SARX = 2, SHRX = 3 };

static void translate_shift(struct translator *t, const struct insn *i, uint8_t which, bool wide)
{
    enum reg count = source(t, i->rs2, RCX), to = wide ? target(t, i->rd, RAX) : RAX;
    emit_vex(&t->b, (struct vex){0xf7, 2, which, wide}, to, count, operand(t, i->rs1));
    if (wide)
        store_x(t, i->rd, to);
    else
        store_word(t, i->rd, RAX);
}

static void translate_compare(struct translator *t, const struct insn *i, enum condition condition)
{
    emit(&t->b, I_CMP | REX_W, source(t, i->rs1, RAX), operand(t, i->rs2));
    set_condition(t, i->rd, condition);
}

static void translate_compare_imm(struct translator *t, const struct insn *i, enum condition condition)
{
    emit_imm(&t->b, REX_W, G_CMP, operand(t, i->rs1), i->imm);
    set_condition(t, i->rd, condition);
}

static void translate_high_product(struct translator *t, const struct insn *i, unsigned group)
{
    load_x(t, RAX, i->rs1);
    emit(&t->b, I_UNARY | REX_W, group, operand(t, i->rs2));
    store_x(t, i->rd, RDX);
}

/* Signed times unsigned: the unsigned product, less the second factor if the first is negative. */
static void translate_mulhsu(struct translator *t, const struct insn *i)
{
    load_x(t, RAX, i->rs1);
    load_x(t, RCX, i->rs2);
    emit(&t->b, I_UNARY | REX_W, G_MUL, in_reg(RCX));
    load_x(t, RAX, i->rs1);
    emit_shift(&t->b, REX_W, G_SAR, in_reg(RAX), 63);
    emit(&t->b, I_AND | REX_W, RAX, in_reg(RCX));
    emit(&t->b, I_SUB | REX_W, RDX, in_reg(RAX));
    store_x(t, i->rd, RDX);
}

/* By zero: all ones, and the dividend.  By -1: what a division would trap for, so a negation, and zero. */
static void translate_division(struct translator *t, const struct insn *i, bool wide, bool is_signed,
                               bool rest)
{
    struct buffer *b = &t->b;
    uint32_t w = wide ? REX_W : 0, minus = 0;
    emit(b, I_MOV | w, RCX, operand(t, i->rs2));
    emit(b, I_MOV | w, RAX, operand(t, i->rs1));
    emit(b, I_TEST | w, RCX, in_reg(RCX));
    uint32_t zero = emit_jcc(b, CC_E);
    if (is_signed) {
        emit_imm(b, w, G_CMP, in_reg(RCX), -1);
        minus = emit_jcc(b, CC_E);
        if (wide)
            put8(b, 0x48);
        put8(b, 0x99); /* cqo, cdq */
    } else {
        emit_constant(b, RDX, 0);
    }
    emit(b, I_UNARY | w, is_signed ? G_IDIV : G_DIV, in_reg(RCX));
    if (rest)
        emit(b, I_MOV | w, RAX, in_reg(RDX));
    uint32_t done = emit_jmp(b), negated = 0;
    if (is_signed) {
        land(b, minus);
        if (rest)
            emit_constant(b, RAX, 0);
        else
            emit(b, I_UNARY | w, G_NEG, in_reg(RAX));
        negated = emit_jmp(b);
    }
    land(b, zero);
    if (!rest)
        emit_constant(b, RAX, UINT64_MAX);
    land(b, done);
    if (is_signed)
        land(b, negated);
    if (wide)
        store_x(t, i->rd, RAX);
    else
        store_word(t, i->rd, RAX);
}

static void compute(struct translator *t, const struct insn *i)
{
    switch (i->op) {
    case OP_LUI:
        set_constant(t, i->rd, (uint64_t)(int64_t)i->imm);
        break;
    case OP_AUIPC:
        set_constant(t, i->rd, t->b.pc + (uint64_t)(int64_t)i->imm);
        break;
    case OP_ADDI:
        translate_addi(t, i);
        break;
    case OP_SLTI:
        translate_compare_imm(t, i, CC_L);
        break;
    case OP_SLTIU:
        translate_compare_imm(t, i, CC_B);
        break;
    case OP_XORI:
        translate_logic_imm(t, i, G_XOR);
        break;
    case OP_ORI:
        translate_logic_imm(t, i, G_OR);
        break;
    case OP_ANDI:
        if (i->imm == 255)
            extend(t, i, I_MOVZX8 | BYTES);
        else
            translate_logic_imm(t, i, G_AND);
        break;
    case OP_SLLI:
        translate_shift_imm(t, i, G_SHL);
        break;
    case OP_SRLI:
        translate_shift_imm(t, i, G_SHR);
        break;
    case OP_SRAI:
        translate_shift_imm(t, i, G_SAR);
        break;
    case OP_ADDIW:
        translate_addiw(t, i);
        break;
    case OP_SLLIW:
        translate_shift_imm32(t, i, G_SHL);
        break;
    case OP_SRLIW:
        translate_shift_imm32(t, i, G_SHR);
        break;
    case OP_SRAIW:
        translate_shift_imm32(t, i, G_SAR);
        break;
    case OP_SEXTB:
        extend(t, i, I_MOVSX8 | REX_W);
        break;
    case OP_SEXTH:
        extend(t, i, I_MOVSX16 | REX_W);
        break;
    case OP_ZEXTH:
        extend(t, i, I_MOVZX16);
        break;
    case OP_ZEXTW:
        extend(t, i, I_MOV);
        break;
    case OP_ADD:
        translate_two(t, i, I_ADD, true);
        break;
    case OP_SUB:
        translate_two(t, i, I_SUB, false);
        break;
    case OP_XOR:
        translate_two(t, i, I_XOR, true);
        break;
    case OP_OR:
        translate_two(t, i, I_OR, true);
        break;
    case OP_AND:
        translate_two(t, i, I_AND, true);
        break;
    case OP_MUL:
        translate_two(t, i, I_IMUL, true);
        break;
    case OP_SLT:
        translate_compare(t, i, CC_L);
        break;
    case OP_SLTU:
        translate_compare(t, i, CC_B);
        break;
    case OP_SLL:
        translate_shift(t, i, SHLX, true);
        break;
    case OP_SRL:
        translate_shift(t, i, SHRX, true);
        break;
    case OP_SRA:
        translate_shift(t, i, SARX, true);
        break;
    case OP_SLLW:
        translate_shift(t, i, SHLX, false);
        break;
    case OP_SRLW:
        translate_shift(t, i, SHRX, false);
        break;
    case OP_SRAW:
        translate_shift(t, i, SARX, false);
        break;
    case OP_ADDW:
        translate_two32(t, i, I_ADD);
        break;
    case OP_SUBW:
        translate_two32(t, i, I_SUB);
        break;
    case OP_MULW:
        translate_two32(t, i, I_IMUL);
        break;
    case OP_MULH:
        translate_high_product(t, i, G_IMUL);
        break;
    case OP_MULHU:
        translate_high_product(t, i, G_MUL);
        break;
    case OP_MULHSU:
        translate_mulhsu(t, i);
        break;
    case OP_DIV:
    case OP_DIVU:
    case OP_REM:
    case OP_REMU:
        translate_division(t, i, true, i->op == OP_DIV || i->op == OP_REM,
                           i->op == OP_REM || i->op == OP_REMU);
        break;
    case OP_DIVW:
    case OP_DIVUW:
    case OP_REMW:
    case OP_REMUW:
        translate_division(t, i, false, i->op == OP_DIVW || i->op == OP_REMW,
                           i->op == OP_REMW || i->op == OP_REMUW);
        break;
    }
}

bool translate_integer(struct translator *t, const struct insn *i)
{
    if (i->op == OP_FENCE) { /* mfence: for a store followed by a load, which is all that x86 reorders */
        put8(&t->b, 0x0f);
        put8(&t->b, 0xae);
        put8(&t->b, 0xf0);
        return true;
    }
    bool computes = i->op == OP_LUI || i->op == OP_AUIPC || (i->op >= OP_ADDI && i->op <= OP_REMUW);
    if (computes && i->rd) /* without a destination it is nothing */
        compute(t, i);
    return computes;
}
