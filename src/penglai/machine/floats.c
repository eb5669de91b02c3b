/*
 * Where Unicorn's floating point is older than the specification; these stand for its functions as those of
 * shortcuts.c do.
 *
 *   - A result of single precision has an upper half that is all ones (unprivileged specification, "NaN Boxing of
 *     Narrower Values"); Unicorn leaves it zero.  It does not look at the upper half of operands either, and what
 *     fmv.w.x and the sign injections make it leaves as it was: so must these not look.  Where runs are to be
 *     the same on every engine, shortcuts.c lets it find illegal instructions there, and they are executed here.
 *   - The smaller or larger of a number and a signalling NaN is the number (the F extension, 2.2).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include "hart.h"

#define BOX 0xffffffff00000000

// clang-format off
#define SINGLES(X) \
    X(fadd_s, 2) X(fsub_s, 2) X(fmul_s, 2) X(fdiv_s, 2) X(fsqrt_s, 1) \
    X(fmadd_s, 3) X(fmsub_s, 3) X(fnmsub_s, 3) X(fnmadd_s, 3) \
    X(fcvt_s_d, 1) X(fcvt_s_w, 1) X(fcvt_s_wu, 1) X(fcvt_s_l, 1) X(fcvt_s_lu, 1)
#define EXTREMES(X) \
    X(fmin_s, is_nan_s, BOX) X(fmax_s, is_nan_s, BOX) X(fmin_d, is_nan_d, 0) X(fmax_d, is_nan_d, 0)
// clang-format on

#define TYPES_1 uint64_t a
#define TYPES_2 uint64_t a, uint64_t b
#define TYPES_3 uint64_t a, uint64_t b, uint64_t c
#define OPERANDS_1 a
#define OPERANDS_2 a, b
#define OPERANDS_3 a, b, c

/* fmv.w.x, and fsgnj.s and its like; with any registers. */
#define FMV_W_X 0xf0000053
#define FSGNJ_S 0x20000053
#define KIND_MASK 0xfe00007f

bool is_unboxed(uint32_t insn)
{
    uint32_t kind = insn & KIND_MASK, variant = bits(insn, 14, 12);
    return kind == FSGNJ_S ? variant < 3 : kind == FMV_W_X && !variant && !bits(insn, 24, 20);
}

void execute_unboxed(struct hart *h, uint32_t insn)
{
    const uint64_t sign = (uint64_t)1 << 31;
    int first = (int)bits(insn, 19, 15), second = (int)bits(insn, 24, 20);
    uint64_t value;
    if ((insn & KIND_MASK) == FMV_W_X) {
        value = read_reg(h, UC_RISCV_REG_X0 + first);
    } else {
        uint64_t other = read_reg(h, UC_RISCV_REG_F0 + second);
        value = read_reg(h, UC_RISCV_REG_F0 + first);
        uint64_t signs[] = {other, ~other, value ^ other};
        value = (value & ~sign) | (signs[bits(insn, 14, 12)] & sign);
    }
    write_reg(h, UC_RISCV_REG_F0 + (int)bits(insn, 11, 7), value | BOX);
}

static bool is_nan_s(uint64_t value)
{
    return (value & 0x7fffffff) > 0x7f800000;
}

static bool is_nan_d(uint64_t value)
{
    return value << 1 > (uint64_t)0x7ff << 53;
}

#define DEFINE_SINGLE(name, count)                                         \
    static uint64_t (*real_##name)(void *state, TYPES_##count);            \
    EXPORT uint64_t helper_##name##_riscv64(void *state, TYPES_##count);   \
    EXPORT uint64_t helper_##name##_riscv64(void *state, TYPES_##count)    \
    {                                                                      \
        return real_##name(state, OPERANDS_##count) | (running ? BOX : 0); \
    }
#define DEFINE_EXTREME(name, is_nan, box)                                                  \
    static uint64_t (*real_##name)(void *state, uint64_t a, uint64_t b);                   \
    EXPORT uint64_t helper_##name##_riscv64(void *state, uint64_t a, uint64_t b);          \
    EXPORT uint64_t helper_##name##_riscv64(void *state, uint64_t a, uint64_t b)           \
    {                                                                                      \
        uint64_t found = real_##name(state, a, b);                                         \
        if (!running)                                                                      \
            return found;                                                                  \
        return (!is_nan(found) ? found : !is_nan(a) ? a : !is_nan(b) ? b : found) | (box); \
    }
#define FIND(name, ...) real_##name = dlsym(RTLD_NEXT, "helper_" #name "_riscv64");

SINGLES(DEFINE_SINGLE)
EXTREMES(DEFINE_EXTREME)

__attribute__((constructor)) static void find_real_functions(void)
{
    SINGLES(FIND)
    EXTREMES(FIND)
}
