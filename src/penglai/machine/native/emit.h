/* Encodes x86-64 into a buffer.  It knows operands and opcodes, and nothing of RISC-V. */
#ifndef PENGLAI_EMIT_H
#define PENGLAI_EMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum reg { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, NO_REG = 0xff };

/* An instruction of the guest's memory that may fault: where it begins in the buffer, and whose it is. */
struct site {
    uint32_t at;
    uint64_t pc;
};

/* Four bytes in the buffer that are to hold a distance from their end to a place in the code area. */
struct fixup {
    uint32_t at;
    uint64_t target;
};

/*
 * What is emitted.  If memory runs out `failed` is set and the rest is dropped: whoever emits looks once, at the
 * end.
 */
struct buffer {
    uint8_t *bytes;
    size_t used, room;
    struct site *sites;
    size_t site_count, site_room;
    struct fixup *fixups;
    size_t fixup_count, fixup_room;
    uint64_t pc; /* of the guest's instruction that is being translated */
    bool failed;
};

/* The operand that may be memory. */
struct place {
    enum { IN_REG, AT, INDEXED, IN_GUEST } kind;
    enum reg base, index; /* IN_GUEST without a base: an absolute address */
    uint8_t scale;        /* of the index: its logarithm */
    int32_t offset;
};

static inline struct place in_reg(enum reg reg)
{
    return (struct place){.kind = IN_REG, .base = reg};
}

static inline struct place at(enum reg base, int32_t offset)
{
    return (struct place){.kind = AT, .base = base, .offset = offset};
}

static inline struct place indexed(enum reg base, enum reg index, unsigned scale)
{
    return (struct place){.kind = INDEXED, .base = base, .index = index, .scale = (uint8_t)scale};
}

static inline struct place in_guest(enum reg base, int32_t offset)
{
    return (struct place){.kind = IN_GUEST, .base = base, .offset = offset};
}

/* An opcode with what goes before it.  Forms "reg, place" unless the name says otherwise. */
enum {
    LOCK = 1 << 8,
    P66 = 1 << 9,
    PF2 = 1 << 10,
    PF3 = 1 << 11,
    REX_W = 1 << 12,
    ESCAPE = 1 << 13,
    ESCAPE38 = 1 << 14,
    BYTES = 1 << 15, /* the register is of one byte */

    I_ADD = 0x03,
    I_OR = 0x0b,
    I_AND = 0x23,
    I_SUB = 0x2b,
    I_XOR = 0x33,
    I_CMP = 0x3b,
    I_TEST = 0x85,
    I_CMP_TO = 0x39, /* place, reg */
    I_MOV = 0x8b,
    I_STORE = 0x89,
    I_STORE8 = 0x88 | BYTES,
    I_STORE16 = 0x89 | P66,
    I_LEA = 0x8d,
    I_MOVSXD = 0x63,
    I_MOVZX8 = 0xb6 | ESCAPE,
    I_MOVZX16 = 0xb7 | ESCAPE,
    I_MOVSX8 = 0xbe | ESCAPE,
    I_MOVSX16 = 0xbf | ESCAPE,
    I_IMUL = 0xaf | ESCAPE,
    I_XCHG = 0x87,
    I_XADD = 0xc1 | ESCAPE,
    I_CMPXCHG = 0xb1 | ESCAPE,
    I_CMOV = 0x40 | ESCAPE, /* plus a condition */

    /* with a number in the place of the register */
    I_GROUP_IMM8 = 0x83,
    I_GROUP_IMM32 = 0x81,
    I_MOV_IMM32 = 0xc7,
    I_SHIFT = 0xc1,
    I_SHIFT_CL = 0xd3,
    I_UNARY = 0xf7,
    I_INDIRECT = 0xff,
    I_MXCSR = 0xae | ESCAPE,

    /* floating point; single precision with PF3 or nothing where double has PF2 or P66 */
    I_MOVQ_LOAD = 0x7e | PF3 | ESCAPE,
    I_MOVQ_STORE = 0xd6 | P66 | ESCAPE,
    I_MOVD_TO = 0x6e | P66 | ESCAPE,
    I_MOVD_FROM = 0x7e | P66 | ESCAPE,
    I_MOVAPS = 0x28 | ESCAPE,
    I_MOVSS_LOAD = 0x10 | PF3 | ESCAPE,
    I_MOVSS_STORE = 0x11 | PF3 | ESCAPE,
    I_MOVSD_LOAD = 0x10 | PF2 | ESCAPE,
    I_MOVSD_STORE = 0x11 | PF2 | ESCAPE,
    I_ANDPS = 0x54 | ESCAPE,
    I_ANDNPS = 0x55 | ESCAPE,
    I_ORPS = 0x56 | ESCAPE,
    I_XORPS = 0x57 | ESCAPE,
    I_FADD = 0x58 | ESCAPE,
    I_FMUL = 0x59 | ESCAPE,
    I_FSUB = 0x5c | ESCAPE,
    I_FMIN = 0x5d | ESCAPE,
    I_FDIV = 0x5e | ESCAPE,
    I_FMAX = 0x5f | ESCAPE,
    I_FSQRT = 0x51 | ESCAPE,
    I_UCOMIS = 0x2e | ESCAPE,
    I_COMIS = 0x2f | ESCAPE,
    I_CVT_TO_F = 0x2a | ESCAPE,
    I_CVTT = 0x2c | ESCAPE,
    I_CVT = 0x2d | ESCAPE,
    I_CVT_F = 0x5a | ESCAPE,
};

/* Numbers that choose within a group. */
enum { G_ADD = 0, G_OR = 1, G_ADC = 2, G_AND = 4, G_SUB = 5, G_XOR = 6, G_CMP = 7 };
enum { G_SHL = 4, G_SHR = 5, G_SAR = 7 };
enum { G_TEST = 0, G_NOT = 2, G_NEG = 3, G_MUL = 4, G_IMUL = 5, G_DIV = 6, G_IDIV = 7 };
enum { G_LDMXCSR = 2, G_STMXCSR = 3 };
enum { G_JUMP = 4 };

enum condition {
    CC_O = 0,
    CC_B = 2,
    CC_AE = 3,
    CC_E = 4,
    CC_NE = 5,
    CC_BE = 6,
    CC_A = 7,
    CC_S = 8,
    CC_P = 10,
    CC_NP = 11,
    CC_L = 12,
    CC_GE = 13,
    CC_LE = 14,
    CC_G = 15,
};
#define INVERSE(which) ((enum condition)((which) ^ 1))

void put8(struct buffer *b, uint8_t value);
void put32(struct buffer *b, uint32_t value);
void put64(struct buffer *b, uint64_t value);

/* op reg, place.  What reads or writes the guest's memory becomes a site. */
void emit(struct buffer *b, uint32_t op, unsigned reg, struct place place);

/* op place, immediate: a group with its number; shifts; test. */
void emit_imm(struct buffer *b, uint32_t wide, unsigned number, struct place place, int32_t value);
void emit_shift(struct buffer *b, uint32_t wide, unsigned number, struct place place, unsigned count);

/* Shortest form of reg = value; flags may change. */
void emit_constant(struct buffer *b, enum reg reg, uint64_t value);

/* mov place, value of 64 bits that is the sign extension of 32. */
void emit_store_constant(struct buffer *b, struct place place, int32_t value);

/* With three operands: reg = first op second.  `map`: 1 is 0f, 2 is 0f 38.  `prefix`: 0 none, 1 66, 2 f3, 3 f2. */
struct vex {
    uint8_t code, map, prefix;
    bool wide;
};
void emit_vex(struct buffer *b, struct vex op, unsigned reg, unsigned first, struct place second);

void emit_setcc(struct buffer *b, enum condition condition, enum reg reg);
void emit_push(struct buffer *b, enum reg reg);
void emit_pop(struct buffer *b, enum reg reg);

/* A jump whose distance is filled in later: the place of its four bytes. */
uint32_t emit_jcc(struct buffer *b, enum condition condition);
uint32_t emit_jmp(struct buffer *b);
uint32_t emit_call(struct buffer *b);

/* The distance at `from` leads to what is emitted next, to a place in the buffer, or to one in the code area. */
void land(struct buffer *b, uint32_t from);
void land_at(struct buffer *b, uint32_t from, uint32_t target);
void land_outside(struct buffer *b, uint32_t from, uint64_t target);

void buffer_clear(struct buffer *b);
void buffer_free(struct buffer *b);

/* Makes room for one more item behind count, of so many bytes; false, and `failed` is set, if there is none. */
bool append(void **items, size_t *room, size_t count, size_t bytes, bool *failed);

#endif
