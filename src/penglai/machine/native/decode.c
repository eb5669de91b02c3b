/* Decodes RV64GC and Zcb (unprivileged specification, chapter "Instruction Set Listings"). */
#include "instruction.h"

static uint32_t field(uint32_t code, int high, int low)
{
    return code >> low & ((2u << (high - low)) - 1);
}

static int32_t extended(uint32_t value, int width)
{
    return (int32_t)(value << (32 - width)) >> (32 - width);
}

/* ---- 32 bits ---------------------------------------------------------------------------------- */

static uint8_t arithmetic_immediate(uint32_t code, int32_t *imm)
{
    static const uint8_t ops[8] = {OP_ADDI, OP_SLLI, OP_SLTI, OP_SLTIU, OP_XORI, OP_SRLI, OP_ORI, OP_ANDI};
    unsigned kind = field(code, 14, 12), upper = field(code, 31, 26);
    if (kind != 1 && kind != 5)
        return ops[kind];
    *imm = (int32_t)field(code, 25, 20);
    if (kind == 5 && upper == 0x10)
        return OP_SRAI;
    return upper == 0 ? ops[kind] : OP_OTHER;
}

static uint8_t arithmetic_immediate32(uint32_t code, int32_t *imm)
{
    unsigned kind = field(code, 14, 12), upper = field(code, 31, 25);
    if (kind == 0)
        return OP_ADDIW;
    *imm = (int32_t)field(code, 24, 20);
    if (kind == 1 && upper == 0)
        return OP_SLLIW;
    if (kind == 5 && upper == 0)
        return OP_SRLIW;
    return kind == 5 && upper == 0x20 ? OP_SRAIW : OP_OTHER;
}

static uint8_t arithmetic(uint32_t code)
{
    static const uint8_t base[8] = {OP_ADD, OP_SLL, OP_SLT, OP_SLTU, OP_XOR, OP_SRL, OP_OR, OP_AND};
    static const uint8_t mul[8] = {OP_MUL, OP_MULH, OP_MULHSU, OP_MULHU, OP_DIV, OP_DIVU, OP_REM, OP_REMU};
    unsigned kind = field(code, 14, 12);
    switch (field(code, 31, 25)) {
    case 0:
        return base[kind];
    case 1:
        return mul[kind];
    case 0x20:
        return kind == 0 ? OP_SUB : kind == 5 ? OP_SRA : OP_OTHER;
    }
    return OP_OTHER;
}

static uint8_t arithmetic32(uint32_t code)
{
    static const uint8_t mul[8] = {OP_MULW, 0, 0, 0, OP_DIVW, OP_DIVUW, OP_REMW, OP_REMUW};
    unsigned kind = field(code, 14, 12);
    switch (field(code, 31, 25)) {
    case 0:
        return kind == 0 ? OP_ADDW : kind == 1 ? OP_SLLW : kind == 5 ? OP_SRLW : OP_OTHER;
    case 1:
        return mul[kind];
    case 0x20:
        return kind == 0 ? OP_SUBW : kind == 5 ? OP_SRAW : OP_OTHER;
    }
    return OP_OTHER;
}

static uint8_t atomic(uint32_t code)
{
    unsigned size = field(code, 14, 12);
    if (size != 2 && size != 3)
        return OP_OTHER;
    switch (field(code, 31, 27)) {
    case 0:
        return OP_AMOADD;
    case 1:
        return OP_AMOSWAP;
    case 2:
        return field(code, 24, 20) ? OP_OTHER : OP_LR;
    case 3:
        return OP_SC;
    case 4:
        return OP_AMOXOR;
    case 8:
        return OP_AMOOR;
    case 12:
        return OP_AMOAND;
    case 16:
        return OP_AMOMIN;
    case 20:
        return OP_AMOMAX;
    case 24:
        return OP_AMOMINU;
    case 28:
        return OP_AMOMAXU;
    }
    return OP_OTHER;
}

static bool is_rounding(unsigned rm)
{
    return rm <= RM_NEAREST_MAX || rm == RM_DYNAMIC;
}

/* OP-FP.  What it gives for a bad rounding mode or format is OP_OTHER; fclass is left to the other engine. */
static uint8_t floating(uint32_t code)
{
    unsigned format = field(code, 26, 25), kind = field(code, 14, 12), second = field(code, 24, 20);
    bool rounds = is_rounding(kind);
    if (format > 1)
        return OP_OTHER;
    switch (field(code, 31, 27)) {
    case 0:
        return rounds ? OP_FADD : OP_OTHER;
    case 1:
        return rounds ? OP_FSUB : OP_OTHER;
    case 2:
        return rounds ? OP_FMUL : OP_OTHER;
    case 3:
        return rounds ? OP_FDIV : OP_OTHER;
    case 4:
        return kind < 3 ? OP_FSGNJ + kind : OP_OTHER;
    case 5:
        return kind < 2 ? OP_FMIN + kind : OP_OTHER;
    case 8:
        return rounds && second == !format ? (format ? OP_FCVT_D_S : OP_FCVT_S_D) : OP_OTHER;
    case 11:
        return rounds && second == 0 ? OP_FSQRT : OP_OTHER;
    case 20:
        return kind < 3 ? OP_FLE + kind : OP_OTHER;
    case 24:
        return rounds && second < 4 ? OP_FCVT_W_F + second : OP_OTHER;
    case 26:
        return rounds && second < 4 ? OP_FCVT_F_W + second : OP_OTHER;
    case 28:
        return kind == 0 && second == 0 ? OP_FMV_X_F : OP_OTHER;
    case 30:
        return kind == 0 && second == 0 ? OP_FMV_F_X : OP_OTHER;
    }
    return OP_OTHER;
}

static int32_t store_offset(uint32_t code)
{
    return extended(field(code, 31, 25) << 5 | field(code, 11, 7), 12);
}

static int32_t branch_offset(uint32_t code)
{
    return extended(field(code, 31, 31) << 12 | field(code, 7, 7) << 11 | field(code, 30, 25) << 5 |
                        field(code, 11, 8) << 1,
                    13);
}

static int32_t jump_offset(uint32_t code)
{
    return extended(field(code, 31, 31) << 20 | field(code, 19, 12) << 12 | field(code, 20, 20) << 11 |
                        field(code, 30, 21) << 1,
                    21);
}

struct insn decode32(uint32_t code)
{
    static const uint8_t loads[8] = {OP_LB, OP_LH, OP_LW, OP_LD, OP_LBU, OP_LHU, OP_LWU, OP_OTHER};
    static const uint8_t stores[8] = {OP_SB, OP_SH, OP_SW, OP_SD};
    static const uint8_t branches[8] = {OP_BEQ, OP_BNE, 0, 0, OP_BLT, OP_BGE, OP_BLTU, OP_BGEU};
    unsigned kind = field(code, 14, 12);
    struct insn i = {
        .rd = (uint8_t)field(code, 11, 7),
        .rs1 = (uint8_t)field(code, 19, 15),
        .rs2 = (uint8_t)field(code, 24, 20),
        .rs3 = (uint8_t)field(code, 31, 27),
        .rm = (uint8_t)kind,
        .bytes = 4,
        .imm = (int32_t)code >> 20,
    };
    switch (code & 0x7f) {
    case 0x03:
        i.op = loads[kind];
        break;
    case 0x07:
        i.op = kind == 2 || kind == 3 ? OP_FL : OP_OTHER;
        i.wide = kind == 3;
        break;
    case 0x0f:
        i.op = kind == 0 ? OP_FENCE : OP_OTHER;
        break;
    case 0x13:
        i.op = arithmetic_immediate(code, &i.imm);
        break;
    case 0x17:
        i.op = OP_AUIPC;
        i.imm = (int32_t)(code & ~0xfffu);
        break;
    case 0x1b:
        i.op = arithmetic_immediate32(code, &i.imm);
        break;
    case 0x23:
        i.op = stores[kind];
        i.imm = store_offset(code);
        break;
    case 0x27:
        i.op = kind == 2 || kind == 3 ? OP_FS : OP_OTHER;
        i.wide = kind == 3;
        i.imm = store_offset(code);
        break;
    case 0x2f:
        i.op = atomic(code);
        i.wide = kind == 3;
        break;
    case 0x33:
        i.op = arithmetic(code);
        break;
    case 0x37:
        i.op = OP_LUI;
        i.imm = (int32_t)(code & ~0xfffu);
        break;
    case 0x3b:
        i.op = arithmetic32(code);
        break;
    case 0x43:
    case 0x47:
    case 0x4b:
    case 0x4f:
        i.wide = field(code, 26, 25);
        if (field(code, 26, 25) <= 1 && is_rounding(kind))
            i.op = (uint8_t)(OP_FMADD + field(code, 3, 2));
        break;
    case 0x53:
        i.op = floating(code);
        i.wide = field(code, 25, 25);
        break;
    case 0x63:
        i.op = branches[kind];
        i.imm = branch_offset(code);
        break;
    case 0x67:
        i.op = kind == 0 ? OP_JALR : OP_OTHER;
        break;
    case 0x6f:
        i.op = OP_JAL;
        i.imm = jump_offset(code);
        break;
    case 0x73:
        i.op = code == 0x73 ? OP_ECALL : kind & 3 ? OP_CSR : OP_OTHER;
        i.imm = (int32_t)(code >> 20);
        break;
    }
    return i;
}

/* ---- 16 bits ---------------------------------------------------------------------------------- */

static struct insn compressed(uint8_t op, unsigned rd, unsigned rs1, unsigned rs2, int32_t imm)
{
    return (struct insn){
        .op = op,
        .rd = (uint8_t)rd,
        .rs1 = (uint8_t)rs1,
        .rs2 = (uint8_t)rs2,
        .bytes = 2,
        .rm = RM_DYNAMIC,
        .wide = true, /* the floating-point ones are of double precision */
        .imm = imm,
    };
}

/* Quadrant 0: loads and stores by register, of Zcb too. */
static struct insn quadrant0(uint16_t code)
{
    unsigned base = 8 + field(code, 9, 7), reg = 8 + field(code, 4, 2);
    int32_t by8 = (int32_t)(field(code, 12, 10) << 3 | field(code, 6, 5) << 6);
    int32_t by4 = (int32_t)(field(code, 12, 10) << 3 | field(code, 6, 6) << 2 | field(code, 5, 5) << 6);
    int32_t byte_at = (int32_t)(field(code, 5, 5) << 1 | field(code, 6, 6));
    int32_t half_at = (int32_t)(field(code, 5, 5) << 1);
    int32_t on_stack = (int32_t)(field(code, 10, 7) << 6 | field(code, 12, 11) << 4 | field(code, 5, 5) << 3 |
                                 field(code, 6, 6) << 2);
    switch (field(code, 15, 13)) {
    case 0:
        return compressed(on_stack ? OP_ADDI : OP_OTHER, reg, 2, 0, on_stack);
    case 1:
        return compressed(OP_FL, reg, base, 0, by8);
    case 2:
        return compressed(OP_LW, reg, base, 0, by4);
    case 3:
        return compressed(OP_LD, reg, base, 0, by8);
    case 4:
        switch (field(code, 12, 10)) {
        case 0:
            return compressed(OP_LBU, reg, base, 0, byte_at);
        case 1:
            return compressed(field(code, 6, 6) ? OP_LH : OP_LHU, reg, base, 0, half_at);
        case 2:
            return compressed(OP_SB, 0, base, reg, byte_at);
        case 3:
            return compressed(field(code, 6, 6) ? OP_OTHER : OP_SH, 0, base, reg, half_at);
        }
        break;
    case 5:
        return compressed(OP_FS, 0, base, reg, by8);
    case 6:
        return compressed(OP_SW, 0, base, reg, by4);
    case 7:
        return compressed(OP_SD, 0, base, reg, by8);
    }
    return compressed(OP_OTHER, 0, 0, 0, 0);
}

/* Quadrant 1, funct3 4: arithmetic on the short registers, of Zcb too. */
static struct insn arithmetic16(uint16_t code)
{
    static const uint8_t two[8] = {OP_SUB, OP_XOR, OP_OR, OP_AND, OP_SUBW, OP_ADDW, OP_MUL, OP_OTHER};
    unsigned rd = 8 + field(code, 9, 7), rs2 = 8 + field(code, 4, 2);
    int32_t imm = extended(field(code, 12, 12) << 5 | field(code, 6, 2), 6);
    switch (field(code, 11, 10)) {
    case 0:
        return compressed(OP_SRLI, rd, rd, 0, imm & 63);
    case 1:
        return compressed(OP_SRAI, rd, rd, 0, imm & 63);
    case 2:
        return compressed(OP_ANDI, rd, rd, 0, imm);
    }
    if ((code & 0x1060) != 0x1060)
        return compressed(two[field(code, 12, 12) << 2 | field(code, 6, 5)], rd, rd, rs2, 0);
    switch (field(code, 4, 2)) {
    case 0:
        return compressed(OP_ANDI, rd, rd, 0, 255);
    case 1:
        return compressed(OP_SEXTB, rd, rd, 0, 0);
    case 2:
        return compressed(OP_ZEXTH, rd, rd, 0, 0);
    case 3:
        return compressed(OP_SEXTH, rd, rd, 0, 0);
    case 4:
        return compressed(OP_ZEXTW, rd, rd, 0, 0);
    case 5:
        return compressed(OP_XORI, rd, rd, 0, -1);
    }
    return compressed(OP_OTHER, 0, 0, 0, 0);
}

static struct insn quadrant1(uint16_t code)
{
    unsigned rd = field(code, 11, 7), short_rs1 = 8 + field(code, 9, 7);
    int32_t imm = extended(field(code, 12, 12) << 5 | field(code, 6, 2), 6);
    int32_t jump = extended(field(code, 12, 12) << 11 | field(code, 11, 11) << 4 | field(code, 10, 9) << 8 |
                                field(code, 8, 8) << 10 | field(code, 7, 7) << 6 | field(code, 6, 6) << 7 |
                                field(code, 5, 3) << 1 | field(code, 2, 2) << 5,
                            12);
    int32_t branch = extended(field(code, 12, 12) << 8 | field(code, 11, 10) << 3 | field(code, 6, 5) << 6 |
                                  field(code, 4, 3) << 1 | field(code, 2, 2) << 5,
                              9);
    int32_t stack = extended(field(code, 12, 12) << 9 | field(code, 6, 6) << 4 | field(code, 5, 5) << 6 |
                                 field(code, 4, 3) << 7 | field(code, 2, 2) << 5,
                             10);
    switch (field(code, 15, 13)) {
    case 0:
        return compressed(OP_ADDI, rd, rd, 0, imm);
    case 1:
        return compressed(rd ? OP_ADDIW : OP_OTHER, rd, rd, 0, imm);
    case 2:
        return compressed(OP_ADDI, rd, 0, 0, imm);
    case 3:
        if (rd == 2)
            return compressed(stack ? OP_ADDI : OP_OTHER, 2, 2, 0, stack);
        return compressed(imm ? OP_LUI : OP_OTHER, rd, 0, 0, (int32_t)((uint32_t)imm << 12));
    case 4:
        return arithmetic16(code);
    case 5:
        return compressed(OP_JAL, 0, 0, 0, jump);
    case 6:
        return compressed(OP_BEQ, 0, short_rs1, 0, branch);
    case 7:
        return compressed(OP_BNE, 0, short_rs1, 0, branch);
    }
    return compressed(OP_OTHER, 0, 0, 0, 0);
}

static struct insn quadrant2(uint16_t code)
{
    unsigned rd = field(code, 11, 7), rs2 = field(code, 6, 2);
    int32_t shift = (int32_t)(field(code, 12, 12) << 5 | rs2);
    int32_t load8 = (int32_t)(field(code, 12, 12) << 5 | field(code, 6, 5) << 3 | field(code, 4, 2) << 6);
    int32_t load4 = (int32_t)(field(code, 12, 12) << 5 | field(code, 6, 4) << 2 | field(code, 3, 2) << 6);
    int32_t store8 = (int32_t)(field(code, 12, 10) << 3 | field(code, 9, 7) << 6);
    int32_t store4 = (int32_t)(field(code, 12, 9) << 2 | field(code, 8, 7) << 6);
    bool second = field(code, 12, 12);
    switch (field(code, 15, 13)) {
    case 0:
        return compressed(OP_SLLI, rd, rd, 0, shift);
    case 1:
        return compressed(OP_FL, rd, 2, 0, load8);
    case 2:
        return compressed(rd ? OP_LW : OP_OTHER, rd, 2, 0, load4);
    case 3:
        return compressed(rd ? OP_LD : OP_OTHER, rd, 2, 0, load8);
    case 4:
        if (rs2)
            return compressed(OP_ADD, rd, second ? rd : 0, rs2, 0);
        return compressed(rd ? OP_JALR : OP_OTHER, second ? 1 : 0, rd, 0, 0);
    case 5:
        return compressed(OP_FS, 0, 2, rs2, store8);
    case 6:
        return compressed(OP_SW, 0, 2, rs2, store4);
    case 7:
        return compressed(OP_SD, 0, 2, rs2, store8);
    }
    return compressed(OP_OTHER, 0, 0, 0, 0);
}

struct insn decode16(uint16_t code)
{
    switch (code & 3) {
    case 0:
        return quadrant0(code);
    case 1:
        return quadrant1(code);
    }
    return quadrant2(code);
}

/* ---- what it uses ----------------------------------------------------------------------------- */

struct uses uses_of(const struct insn *i)
{
    uint32_t rd = 1u << i->rd, rs1 = 1u << i->rs1, rs2 = 1u << i->rs2, rs3 = 1u << i->rs3;
    uint8_t op = i->op;
    if (op == OP_OTHER || op == OP_FENCE || op == OP_ECALL || op == OP_CSR)
        return (struct uses){0};
    if (op <= OP_JAL)
        return (struct uses){.writes = rd};
    if (is_branch(i) || (op >= OP_SB && op <= OP_SD))
        return (struct uses){.reads = rs1 | rs2};
    if (op < OP_ADD || op == OP_LR)
        return (struct uses){.reads = rs1, .writes = rd};
    if (op < OP_FL)
        return (struct uses){.reads = rs1 | rs2, .writes = rd};
    if (op == OP_FL)
        return (struct uses){.reads = rs1, .float_writes = rd};
    if (op == OP_FS)
        return (struct uses){.reads = rs1, .float_reads = rs2};
    if (op <= OP_FNMADD)
        return (struct uses){.float_reads = rs1 | rs2 | rs3, .float_writes = rd};
    if (op == OP_FSQRT || op == OP_FCVT_S_D || op == OP_FCVT_D_S)
        return (struct uses){.float_reads = rs1, .float_writes = rd};
    if (op <= OP_FMAX)
        return (struct uses){.float_reads = rs1 | rs2, .float_writes = rd};
    if (op <= OP_FEQ)
        return (struct uses){.float_reads = rs1 | rs2, .writes = rd};
    if (op <= OP_FCVT_LU_F || op == OP_FMV_X_F)
        return (struct uses){.float_reads = rs1, .writes = rd};
    return (struct uses){.reads = rs1, .float_writes = rd};
}
