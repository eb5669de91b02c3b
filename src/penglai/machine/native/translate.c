/*
 * Translates a text in batches: from an address on, all blocks that jumps and calls lead to.
 *
 * A block has one entry, and goes on behind a branch that is not taken.  What is known of registers at a point of a
 * block (that one holds an address in the window, say) holds because control came there from the block's
 * beginning.  So entries are the beginnings of blocks and no other places: whoever jumps elsewhere into a text
 * misses, and gets a block that begins there.
 *
 * Every cycle in what is emitted has a poll: in front of what a jump backwards or a call leads to, and at each jump
 * to an address in a register.
 */
#include <stdlib.h>
#include <string.h>
#include "native.h"

/* A batch ends after about so many: whoever wants the hart meanwhile waits a fraction of a ms. */
#define BATCH_INSNS 1024
#define BLOCK_INSNS 256
#define LOOP_ALIGNMENT 16

static uint32_t index_of(const struct code *code, uint64_t pc)
{
    return (uint32_t)((pc - code->start) / 2);
}

static uint64_t pc_of(const struct code *code, uint32_t index)
{
    return code->start + 2 * (uint64_t)index;
}

static bool in_text(const struct code *code, uint64_t pc)
{
    return pc - code->start < code->bytes && !(pc & 1);
}

/* ---- blocks ----------------------------------------------------------------------------------- */

/* A block is to begin at pc, with a poll if `poll`; false if this batch has enough. */
static void begin_at(struct translator *t, uint64_t pc, bool poll)
{
    struct code *code = t->code;
    if (!in_text(code, pc))
        return;
    uint32_t index = index_of(code, pc);
    if (code->table[index])
        return;
    code->marks[index] |= poll ? MARK_POLL : 0;
    if (code->marks[index] & MARK_QUEUED || t->insns >= BATCH_INSNS)
        return;
    if (append((void **)&t->starts, &t->start_room, t->start_count, sizeof *t->starts, &t->b.failed)) {
        code->marks[index] |= MARK_QUEUED;
        t->starts[t->start_count++] = index;
    }
}

static bool begins(const struct code *code, uint32_t index)
{
    return code->table[index] || code->marks[index] & MARK_QUEUED;
}

/* Control does not go on behind it. */
static bool ends_block(const struct insn *i)
{
    return i->op == OP_OTHER || i->op == OP_JAL || i->op == OP_JALR || i->op == OP_ECALL || i->op == OP_CSR;
}

/* The target of auipc and jalr on one register behind each other; 0 if they are not. */
static uint64_t far_target(const struct code *code, uint64_t pc, const struct insn *i, struct insn *second)
{
    uint64_t next = pc + i->bytes;
    if (i->op != OP_AUIPC || !i->rd || !in_text(code, next))
        return 0;
    *second = insn_at(code, next - code->start);
    if (second->op != OP_JALR || second->rs1 != i->rd || begins(code, index_of(code, next)))
        return 0;
    return (pc + (uint64_t)(int64_t)i->imm + (uint64_t)(int64_t)second->imm) & ~(uint64_t)1;
}

static void find_blocks_from(struct translator *t, uint32_t index)
{
    const struct code *code = t->code;
    uint64_t pc = pc_of(code, index);
    for (unsigned count = 0; count < BLOCK_INSNS; count++) {
        struct insn i = insn_at(code, pc - code->start), second;
        uint64_t next = pc + i.bytes, there = pc + (uint64_t)(int64_t)i.imm;
        t->insns++;
        if (is_branch(&i))
            begin_at(t, there, there < next);
        uint64_t far = far_target(code, pc, &i, &second);
        if (far)
            begin_at(t, far, second.rd || far < next + second.bytes);
        if (i.op == OP_JAL) {
            begin_at(t, there, i.rd || there < next);
            if (i.rd)
                begin_at(t, next, false);
        }
        if ((i.op == OP_JALR && i.rd) || i.op == OP_ECALL)
            begin_at(t, next, false);
        if (ends_block(&i) || !in_text(code, next) || begins(code, index_of(code, next)))
            return;
        pc = next;
    }
    begin_at(t, pc, false);
}

static int by_index(const void *a, const void *b)
{
    uint32_t first = *(const uint32_t *)a, second = *(const uint32_t *)b;
    return (first > second) - (first < second);
}

/* ---- jumps ------------------------------------------------------------------------------------ */

static void add_jump(struct translator *t, uint32_t from, uint64_t target, bool polled)
{
    if (append((void **)&t->jumps, &t->jump_room, t->jump_count, sizeof *t->jumps, &t->b.failed))
        t->jumps[t->jump_count++] = (struct jump){from, polled, target};
}

static void count_jump(struct translator *t)
{
    if (t->code->cache->counts)
        emit_imm(&t->b, REX_W, G_ADD, in_frame(offsetof(struct frame, jumps)), 1);
}

/* The jump to the address in rax, whose lowest bit does not matter, counts if it leads back. */
static void count_if_back(struct translator *t, uint64_t next)
{
    emit_constant(&t->b, RCX, next);
    emit(&t->b, I_CMP | REX_W, RAX, in_reg(RCX));
    emit_imm(&t->b, REX_W, G_ADC, in_frame(offsetof(struct frame, jumps)), 0);
}

static void set_return(struct translator *t, unsigned rd, uint64_t next)
{
    if (!rd)
        return;
    enum reg reg = target(t, rd, RCX);
    emit_constant(&t->b, reg, next);
    store_x(t, rd, reg);
}

/* What a return compares to ra; behind it the call puts the host's address. */
static void push_return(struct translator *t, uint64_t next)
{
    if (next < (uint64_t)1 << 31) {
        put8(&t->b, 0x68);
        put32(&t->b, (uint32_t)next);
    } else {
        emit_constant(&t->b, RDX, next);
        emit_push(&t->b, RDX);
    }
}

static void behind_call(struct translator *t, uint64_t next)
{
    emit(&t->b, I_LEA | REX_W, RSP, at(RSP, 8));
    add_jump(t, emit_jmp(&t->b), next, false);
}

/* There is room for one return more; else leaves, and begins with an empty stack where the call leads to. */
static void check_returns(struct translator *t)
{
    emit(&t->b, I_CMP | REX_W, RSP, in_frame(offsetof(struct frame, return_limit)));
}

static void call(struct translator *t, uint64_t target, uint64_t next)
{
    set_return(t, 1, next);
    check_returns(t);
    add_cold(t, emit_jcc(&t->b, CC_B), LEFT_MISS, target);
    push_return(t, next);
    add_jump(t, emit_call(&t->b), target, true);
    behind_call(t, next);
}

static void jump_and_link(struct translator *t, unsigned rd, uint64_t target, uint64_t next)
{
    if (target < next)
        count_jump(t);
    if (rd == 1) {
        call(t, target, next);
        return;
    }
    set_return(t, rd, next);
    add_jump(t, emit_jmp(&t->b), target, rd || target < next);
}

static void translate_return(struct translator *t, uint64_t next)
{
    if (t->code->cache->counts) {
        load_x(t, RAX, 1);
        count_if_back(t, next);
    }
    emit(&t->b, I_CMP | REX_W, source(t, 1, RAX), at(RSP, 8));
    land_outside(&t->b, emit_jcc(&t->b, CC_NE), t->code->slow_return);
    put8(&t->b, 0xc3);
}

static void translate_jalr(struct translator *t, const struct insn *i)
{
    struct buffer *b = &t->b;
    uint64_t next = b->pc + i->bytes;
    if (!i->rd && i->rs1 == 1 && !i->imm) {
        translate_return(t, next);
        return;
    }
    load_x(t, RAX, i->rs1);
    if (i->imm)
        emit_imm(b, REX_W, G_ADD, in_reg(RAX), i->imm);
    emit_imm(b, REX_W, G_AND, in_reg(RAX), -2);
    if (t->code->cache->counts)
        count_if_back(t, next);
    set_return(t, i->rd, next);
    if (i->rd != 1) {
        jump_to_rax(t);
        return;
    }
    check_returns(t);
    land_outside(b, emit_jcc(b, CC_B), t->code->miss);
    push_return(t, next);
    find_entry_of_rax(t);
    emit(b, I_INDIRECT, 2, in_reg(RCX)); /* call */
    behind_call(t, next);
}

static void translate_branch(struct translator *t, const struct insn *i)
{
    static const enum condition conditions[] = {CC_E, CC_NE, CC_L, CC_GE, CC_B, CC_AE};
    uint64_t there = t->b.pc + (uint64_t)(int64_t)i->imm, next = t->b.pc + i->bytes;
    enum condition condition = conditions[i->op - OP_BEQ];
    if (t->truth && t->truth == i->rs1 && !i->rs2 && t->truth_at == t->b.used && i->op <= OP_BNE)
        condition = i->op == OP_BNE ? t->truth_condition : INVERSE(t->truth_condition);
    else if (!i->rs2)
        emit_imm(&t->b, REX_W, G_CMP, operand(t, i->rs1), 0);
    else if (t->code->map[i->rs1] == NO_REG && t->code->map[i->rs2] != NO_REG)
        emit(&t->b, I_CMP_TO | REX_W, t->code->map[i->rs2], operand(t, i->rs1));
    else
        emit(&t->b, I_CMP | REX_W, source(t, i->rs1, RAX), operand(t, i->rs2));
    if (there >= next || !t->code->cache->counts) {
        add_jump(t, emit_jcc(&t->b, condition), there, there < next);
        return;
    }
    uint32_t over = emit_jcc(&t->b, INVERSE(condition));
    count_jump(t);
    add_jump(t, emit_jmp(&t->b), there, true);
    land(&t->b, over);
}

/* ---- one block -------------------------------------------------------------------------------- */

/* Translates what ends a block, or the instruction; false if the block ends here. */
static bool translate_one(struct translator *t, const struct insn *i)
{
    uint64_t pc = t->b.pc;
    switch (i->op) {
    case OP_JAL:
        jump_and_link(t, i->rd, pc + (uint64_t)(int64_t)i->imm, pc + i->bytes);
        return false;
    case OP_JALR:
        translate_jalr(t, i);
        return false;
    case OP_ECALL:
        leave_at(t, LEFT_ECALL, pc);
        return false;
    case OP_CSR:
        leave_at(t, LEFT_CSR, pc);
        return false;
    }
    if (is_branch(i)) {
        translate_branch(t, i);
        return true;
    }
    bool possible = i->op < OP_FL || t->code->floats;
    if (possible && (translate_integer(t, i) || translate_memory(t, i) || translate_atomic(t, i) ||
                     translate_floating(t, i)))
        return true;
    leave_at(t, LEFT_ELSEWHERE, pc);
    return false;
}

/* From one start to the next, or to the block's end.  next: the start that is translated behind it, or none. */
static void translate_block(struct translator *t, uint32_t index, uint32_t following)
{
    struct code *code = t->code;
    struct buffer *b = &t->b;
    uint64_t pc = pc_of(code, index);
    while (code->marks[index] & MARK_POLL && b->used % LOOP_ALIGNMENT)
        put8(b, 0x90);
    code->fresh[index] = (uint32_t)b->used + 1;
    if (code->marks[index] & MARK_POLL) {
        add_cold(t, emit_poll(b), LEFT_POLL, pc);
        code->marks[index] |= MARK_POLLED;
    }
    t->checked = t->known = t->boxed = t->truth = 0;
    for (unsigned count = 0;; count++) {
        if (count && (!in_text(code, pc) || begins(code, index_of(code, pc)) || count >= BLOCK_INSNS)) {
            if (!in_text(code, pc) || index_of(code, pc) != following)
                add_jump(t, emit_jmp(b), pc, false);
            return;
        }
        struct insn i = insn_at(code, pc - code->start), second;
        b->pc = pc;
        uint64_t far = far_target(code, pc, &i, &second);
        if (far) { /* both at once: the second one, if somebody jumps to it, begins a block */
            uint64_t behind = pc + i.bytes + second.bytes;
            if (second.rd != i.rd)
                translate_integer(t, &i);
            jump_and_link(t, second.rd, far, behind);
            return;
        }
        if (!translate_one(t, &i))
            return;
        pc += i.bytes;
    }
}

/* ---- what is left to do at the end of a batch ------------------------------------------------- */

static void translate_colds(struct translator *t)
{
    for (size_t k = 0; k < t->cold_count; k++) {
        land(&t->b, t->colds[k].from);
        leave_at(t, t->colds[k].reason, t->colds[k].pc);
    }
}

/* A way to a block that is not there yet, or has no poll although it needs one. */
static void translate_detour(struct translator *t, const struct jump *j, uint32_t index)
{
    struct code *code = t->code;
    struct buffer *b = &t->b;
    if (j->polled) {
        uint32_t more = emit_poll(b), over = emit_jmp(b);
        land(b, more);
        leave_at(t, LEFT_POLL, j->target);
        land(b, over);
    }
    if (code->fresh[index]) {
        land_at(b, emit_jmp(b), code->fresh[index] - 1);
        return;
    }
    emit_constant(b, RAX, j->target); /* for those who miss */
    emit(b, I_MOV | REX_W, RDX, in_frame(offsetof(struct frame, table)));
    emit(b, I_MOV, RCX, at(RDX, (int32_t)(4 * index)));
    emit(b, I_ADD | REX_W, RCX, in_frame(offsetof(struct frame, area)));
    emit(b, I_INDIRECT, G_JUMP, in_reg(RCX));
}

static void translate_jumps(struct translator *t)
{
    struct code *code = t->code;
    for (size_t k = 0; k < t->jump_count; k++) {
        const struct jump *j = &t->jumps[k];
        if (!in_text(code, j->target)) {
            land(&t->b, j->from);
            leave_at(t, LEFT_MISS, j->target);
            continue;
        }
        uint32_t index = index_of(code, j->target);
        bool good = !j->polled || code->marks[index] & MARK_POLLED;
        if (good && code->fresh[index]) {
            land_at(&t->b, j->from, code->fresh[index] - 1);
        } else if (good && code->table[index]) {
            land_outside(&t->b, j->from, code->table[index]);
        } else {
            land(&t->b, j->from);
            translate_detour(t, j, index);
        }
    }
}

static void finish(struct translator *t)
{
    struct code *code = t->code;
    uint32_t start = t->b.failed ? 0 : code_place(code, &t->b);
    for (size_t k = 0; k < t->start_count; k++) {
        uint32_t index = t->starts[k], fresh = code->fresh[index];
        if (start && fresh)
            __atomic_store_n(&code->table[index], start + fresh - 1, __ATOMIC_RELEASE);
        else
            code->marks[index] &= (uint8_t)~MARK_POLLED;
        code->fresh[index] = 0;
        code->marks[index] &= (uint8_t)~MARK_QUEUED;
    }
    if (!start)
        code->full = true;
}

void translate_from(struct code *code, uint64_t pc)
{
    struct translator t = {.code = code};
    begin_at(&t, pc, false);
    for (size_t k = 0; k < t.start_count; k++)
        find_blocks_from(&t, t.starts[k]);
    qsort(t.starts, t.start_count, sizeof *t.starts, by_index);
    for (size_t k = 0; k < t.start_count; k++)
        translate_block(&t, t.starts[k], k + 1 < t.start_count ? t.starts[k + 1] : UINT32_MAX);
    translate_nans(&t);
    translate_colds(&t);
    translate_jumps(&t);
    finish(&t);
    buffer_free(&t.b);
    free(t.starts);
    free(t.colds);
    free(t.nans);
    free(t.jumps);
}
