/* One decoded instruction of RV64GC and Zcb.  decode.c makes them; what it does not know is OP_OTHER. */
#ifndef PENGLAI_INSTRUCTION_H
#define PENGLAI_INSTRUCTION_H

#include <stdbool.h>
#include <stdint.h>

/*
 * In groups that are asked for as ranges.  W: of 32 bits.  One name serves single and double precision, and words
 * and doublewords of atomics: `wide` tells.  Conversions are named from what they give and what they take.
 */
enum op {
    OP_OTHER, /* illegal, or left to the other engine */
    OP_LUI,
    OP_AUIPC,
    OP_JAL,
    OP_JALR,
    OP_BEQ,
    OP_BNE,
    OP_BLT,
    OP_BGE,
    OP_BLTU,
    OP_BGEU,
    OP_LB,
    OP_LH,
    OP_LW,
    OP_LD,
    OP_LBU,
    OP_LHU,
    OP_LWU,
    OP_SB,
    OP_SH,
    OP_SW,
    OP_SD,
    OP_ADDI,
    OP_SLTI,
    OP_SLTIU,
    OP_XORI,
    OP_ORI,
    OP_ANDI,
    OP_SLLI,
    OP_SRLI,
    OP_SRAI,
    OP_ADDIW,
    OP_SLLIW,
    OP_SRLIW,
    OP_SRAIW,
    OP_SEXTB,
    OP_SEXTH,
    OP_ZEXTH,
    OP_ZEXTW,
    OP_ADD,
    OP_SUB,
    OP_SLL,
    OP_SLT,
    OP_SLTU,
    OP_XOR,
    OP_SRL,
    OP_SRA,
    OP_OR,
    OP_AND,
    OP_ADDW,
    OP_SUBW,
    OP_SLLW,
    OP_SRLW,
    OP_SRAW,
    OP_MUL,
    OP_MULH,
    OP_MULHSU,
    OP_MULHU,
    OP_DIV,
    OP_DIVU,
    OP_REM,
    OP_REMU,
    OP_MULW,
    OP_DIVW,
    OP_DIVUW,
    OP_REMW,
    OP_REMUW,
    OP_FENCE,
    OP_ECALL,
    OP_CSR,
    OP_LR,
    OP_SC,
    OP_AMOSWAP,
    OP_AMOADD,
    OP_AMOXOR,
    OP_AMOAND,
    OP_AMOOR,
    OP_AMOMIN,
    OP_AMOMAX,
    OP_AMOMINU,
    OP_AMOMAXU,
    OP_FL,
    OP_FS,
    OP_FMADD,
    OP_FMSUB,
    OP_FNMSUB,
    OP_FNMADD,
    OP_FADD,
    OP_FSUB,
    OP_FMUL,
    OP_FDIV,
    OP_FSQRT,
    OP_FSGNJ,
    OP_FSGNJN,
    OP_FSGNJX,
    OP_FMIN,
    OP_FMAX,
    OP_FLE,
    OP_FLT,
    OP_FEQ,
    OP_FCVT_W_F,
    OP_FCVT_WU_F,
    OP_FCVT_L_F,
    OP_FCVT_LU_F,
    OP_FCVT_F_W,
    OP_FCVT_F_WU,
    OP_FCVT_F_L,
    OP_FCVT_F_LU,
    OP_FCVT_S_D,
    OP_FCVT_D_S,
    OP_FMV_X_F,
    OP_FMV_F_X,
    OP_COUNT,
};

struct insn {
    uint8_t op, rd, rs1, rs2, rs3;
    uint8_t bytes; /* 2 or 4 */
    uint8_t rm;    /* rounding mode; of a CSR instruction, which one it is */
    bool wide;     /* double precision; an atomic of 8 bytes */
    int32_t imm;   /* of OP_CSR the number of the register */
};

enum { RM_NEAREST = 0, RM_TO_ZERO = 1, RM_NEAREST_MAX = 4, RM_DYNAMIC = 7 };

struct insn decode16(uint16_t code);
struct insn decode32(uint32_t code);

/* What an instruction does with its registers, as masks of x0 to x31 and f0 to f31. */
struct uses {
    uint32_t reads, writes, float_reads, float_writes;
};
struct uses uses_of(const struct insn *i);

static inline bool is_branch(const struct insn *i)
{
    return i->op >= OP_BEQ && i->op <= OP_BGEU;
}

#endif
