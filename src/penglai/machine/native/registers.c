/* Which guest registers live in registers of the host. */
#include <stdlib.h>
#include <string.h>
#include "native.h"

/* The rest: rax, rcx and rdx to compute with, rbp the frame, rsp returns, r15 the window's last address. */
static const uint8_t pool[] = {RBX, RSI, RDI, R8, R9, R10, R11, R12, R13, R14};
enum { FLOAT_POOL = 12, FIRST_FLOAT = 3 };

#define SWEEP_BYTES ((uint64_t)256 << 10)
#define LOOP_BYTES 4096
#define DEPTH_MAX 4
#define FUNCTION_BYTES 64
#define HEAT_SHIFT 20

struct place in_frame(size_t offset)
{
    return at(RBP, (int32_t)offset - FRAME_BIAS);
}

struct place constant(unsigned number)
{
    return in_frame(offsetof(struct frame, constants) + 8 * number);
}

static struct place frame_x(unsigned x)
{
    return in_frame(offsetof(struct frame, c.x) + 8 * x);
}

static struct place frame_f(unsigned f)
{
    return in_frame(offsetof(struct frame, c.f) + 8 * f);
}

/* ---- choice ----------------------------------------------------------------------------------- */

struct insn insn_at(const struct code *code, uint64_t offset)
{
    uint16_t low;
    uint32_t whole;
    memcpy(&low, code->text + offset, sizeof low);
    if ((low & 3) != 3)
        return decode16(low);
    if (code->bytes - offset < 4)
        return (struct insn){.bytes = 4};
    memcpy(&whole, code->text + offset, sizeof whole);
    return decode32(whole);
}

/* For each halfword of [first, end) how many loops begin (+) or end (-) there. */
static void count_loops(const struct code *code, uint64_t first, uint64_t end, int8_t *edges)
{
    for (uint64_t at = first; at + 2 <= end;) {
        struct insn i = insn_at(code, at);
        bool back = (is_branch(&i) || (i.op == OP_JAL && !i.rd)) && i.imm < 0 && i.imm > -LOOP_BYTES;
        if (back && at + (uint64_t)(int64_t)i.imm >= first && at + (uint64_t)(int64_t)i.imm < at) {
            int8_t *begin = &edges[(at + (uint64_t)(int64_t)i.imm - first) / 2],
                   *over = &edges[(at - first) / 2 + 1];
            if (*begin < DEPTH_MAX && *over > -DEPTH_MAX) {
                ++*begin;
                --*over;
            }
        }
        at += i.bytes;
    }
}

/*
 * How hot each halfword of [first, end) is, by what was sampled: the body of a loop as hot as its beginning, and as
 * hot as a function's beginning so much behind it.
 */
static void spread_samples(const struct code *code, uint64_t first, uint64_t end, uint32_t *heat)
{
    const uint16_t *samples = code->samples + first / 2;
    for (uint64_t at = first; at + 2 <= end;) {
        struct insn i = insn_at(code, at);
        uint64_t there = at + (uint64_t)(int64_t)i.imm, last = at;
        bool back = (is_branch(&i) || (i.op == OP_JAL && !i.rd)) && i.imm < 0 && i.imm > -LOOP_BYTES;
        uint64_t from = back && there >= first && there < at ? there : at;
        if (from == at && samples[(at - first) / 2])
            last = at + FUNCTION_BYTES < end ? at + FUNCTION_BYTES : end - 2;
        uint32_t count = samples[(from - first) / 2];
        for (uint64_t hot = from; count && hot <= last; hot += 2)
            heat[(hot - first) / 2] += count;
        at += i.bytes;
    }
}

static void add_weight(uint64_t weights[32], uint32_t registers, uint64_t weight)
{
    for (; registers; registers &= registers - 1)
        weights[__builtin_ctz(registers)] += weight;
}

static void weigh(const struct code *code, uint64_t first, uint64_t end, const int8_t *edges,
                  const uint32_t *heat, uint64_t x[32], uint64_t f[32])
{
    int depth = 0;
    for (uint64_t at = first; at + 2 <= end;) {
        struct insn i = insn_at(code, at);
        depth += edges[(at - first) / 2];
        if (i.bytes == 4)
            depth += edges[(at - first) / 2 + 1];
        struct uses u = uses_of(&i);
        uint64_t weight = (uint64_t)1 << 3 * (depth < 0 ? 0 : depth > DEPTH_MAX ? DEPTH_MAX : depth);
        weight += (uint64_t)heat[(at - first) / 2] << HEAT_SHIFT;
        add_weight(x, u.reads, weight);
        add_weight(x, u.writes, weight);
        add_weight(f, u.float_reads, weight);
        add_weight(f, u.float_writes, weight);
        at += i.bytes;
    }
}

static void take_heaviest(uint64_t weights[32], unsigned first, const uint8_t *from, unsigned count,
                          uint8_t map[32])
{
    memset(map, NO_REG, 32);
    for (unsigned taken = 0; taken < count; taken++) {
        unsigned best = first;
        for (unsigned r = first; r < 32; r++)
            if (weights[r] > weights[best])
                best = r;
        if (!weights[best])
            return;
        map[best] = from[taken];
        weights[best] = 0;
    }
}

void choose_registers(struct code *code, uint64_t entry)
{
    uint64_t x[32] = {0}, f[32] = {0};
    uint64_t first = entry - code->start, end = code->bytes;
    first = first > SWEEP_BYTES / 4 ? (first - SWEEP_BYTES / 4) & ~(uint64_t)1 : 0;
    if (end - first > SWEEP_BYTES)
        end = first + SWEEP_BYTES;
    int8_t *edges = calloc((end - first) / 2 + 2, 1);
    uint32_t *heat = calloc((end - first) / 2 + 2, sizeof *heat);
    uint8_t float_pool[FLOAT_POOL];
    for (unsigned i = 0; i < FLOAT_POOL; i++)
        float_pool[i] = (uint8_t)(FIRST_FLOAT + i);
    if (edges && heat) {
        count_loops(code, first, end, edges);
        if (code->generation) /* the first one has no samples */
            spread_samples(code, first, end, heat);
        weigh(code, first, end, edges, heat, x, f);
    }
    free(edges);
    free(heat);
    take_heaviest(x, 1, pool, sizeof pool, code->map);
    take_heaviest(f, 0, float_pool, FLOAT_POOL, code->float_map);
}

/* ---- operands --------------------------------------------------------------------------------- */

struct place operand(const struct translator *t, unsigned x)
{
    return t->code->map[x] == NO_REG ? frame_x(x) : in_reg(t->code->map[x]);
}

void load_x(struct translator *t, enum reg reg, unsigned x)
{
    if (!x)
        emit_constant(&t->b, reg, 0);
    else if (t->code->map[x] != reg)
        emit(&t->b, I_MOV | REX_W, reg, operand(t, x));
}

enum reg source(struct translator *t, unsigned x, enum reg scratch)
{
    if (t->code->map[x] != NO_REG)
        return t->code->map[x];
    load_x(t, scratch, x);
    return scratch;
}

enum reg target(const struct translator *t, unsigned x, enum reg scratch)
{
    return t->code->map[x] == NO_REG ? scratch : (enum reg)t->code->map[x];
}

void store_x(struct translator *t, unsigned x, enum reg reg)
{
    t->checked &= ~(1u << x);
    t->known &= ~(1u << x);
    if (x && t->code->map[x] != reg)
        emit(&t->b, I_STORE | REX_W, reg, operand(t, x));
}

struct place float_operand(const struct translator *t, unsigned f)
{
    return t->code->float_map[f] == NO_REG ? frame_f(f) : in_reg(t->code->float_map[f]);
}

void load_f(struct translator *t, unsigned xmm, unsigned f)
{
    if (t->code->float_map[f] == NO_REG)
        emit(&t->b, I_MOVQ_LOAD, xmm, frame_f(f));
    else if (t->code->float_map[f] != xmm)
        emit(&t->b, I_MOVAPS, xmm, in_reg(t->code->float_map[f]));
}

unsigned float_source(struct translator *t, unsigned f, unsigned scratch)
{
    if (t->code->float_map[f] != NO_REG)
        return t->code->float_map[f];
    load_f(t, scratch, f);
    return scratch;
}

unsigned float_target(const struct translator *t, unsigned f, unsigned scratch)
{
    return t->code->float_map[f] == NO_REG ? scratch : t->code->float_map[f];
}

void store_f(struct translator *t, unsigned f, unsigned xmm)
{
    t->boxed &= ~(1u << f);
    if (t->code->float_map[f] == NO_REG)
        emit(&t->b, I_MOVQ_STORE, xmm, frame_f(f));
    else if (t->code->float_map[f] != xmm)
        emit(&t->b, I_MOVAPS, t->code->float_map[f], in_reg((enum reg)xmm));
}

void move_all(const struct code *code, struct buffer *b, bool in)
{
    for (unsigned x = 1; x < 32; x++)
        if (code->map[x] != NO_REG)
            emit(b, (in ? I_MOV : I_STORE) | REX_W, code->map[x], frame_x(x));
    for (unsigned f = 0; f < 32; f++)
        if (code->float_map[f] != NO_REG)
            emit(b, in ? I_MOVQ_LOAD : I_MOVQ_STORE, code->float_map[f], frame_f(f));
}
