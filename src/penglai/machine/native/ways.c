/*
 * The ways into native code and out of it, and jumps to where the guest's registers say.
 */
#include <stddef.h>
#include "native.h"

static const uint8_t saved[] = {RBX, RBP, R12, R13, R14, R15};

#define RETURN_BYTES 32768

/* ---- leaving ---------------------------------------------------------------------------------- */

void add_cold(struct translator *t, uint32_t from, enum reason reason, uint64_t pc)
{
    if (append((void **)&t->colds, &t->cold_room, t->cold_count, sizeof *t->colds, &t->b.failed))
        t->colds[t->cold_count++] = (struct cold){from, reason, pc};
}

void leave_if(struct translator *t, enum condition condition, enum reason reason)
{
    add_cold(t, emit_jcc(&t->b, condition), reason, t->b.pc);
}

void leave_at(struct translator *t, enum reason reason, uint64_t pc)
{
    struct place where = in_frame(offsetof(struct frame, c.pc));
    if ((int64_t)pc == (int32_t)pc) {
        emit_store_constant(&t->b, where, (int32_t)pc);
    } else {
        emit_constant(&t->b, RAX, pc);
        emit(&t->b, I_STORE | REX_W, RAX, where);
    }
    emit(&t->b, I_MOV_IMM32, 0, in_frame(offsetof(struct frame, reason)));
    put32(&t->b, reason);
    land_outside(&t->b, emit_jmp(&t->b), t->code->leave);
}

uint32_t emit_poll(struct buffer *b)
{
    emit(b, I_GROUP_IMM8, G_SUB, in_frame(offsetof(struct frame, fuel)));
    put8(b, 1);
    return emit_jcc(b, CC_S);
}

/* ---- jumps ------------------------------------------------------------------------------------ */

void find_entry_of_rax(struct translator *t)
{
    struct buffer *b = &t->b;
    land_outside(b, emit_poll(b), t->code->poll);
    emit(b, I_MOV | REX_W, RCX, in_reg(RAX));
    emit(b, I_SUB | REX_W, RCX, in_frame(offsetof(struct frame, text_start)));
    emit(b, I_CMP | REX_W, RCX, in_frame(offsetof(struct frame, text_bytes)));
    land_outside(b, emit_jcc(b, CC_AE), t->code->miss);
    emit(b, I_MOV | REX_W, RDX, in_frame(offsetof(struct frame, table)));
    emit(b, I_MOV, RCX, indexed(RDX, RCX, 1));
    emit(b, I_ADD | REX_W, RCX, in_frame(offsetof(struct frame, area)));
}

void jump_to_rax(struct translator *t)
{
    find_entry_of_rax(t);
    emit(&t->b, I_INDIRECT, G_JUMP, in_reg(RCX));
}

/* ---- in and out ------------------------------------------------------------------------------- */

/* void enter(struct frame *rdi, void *rsi).  On the stack there is a return that no call has made. */
static void emit_enter(const struct code *code, struct buffer *b)
{
    for (unsigned i = 0; i < sizeof saved; i++)
        emit_push(b, saved[i]);
    emit(b, I_LEA | REX_W, RBP, at(RDI, FRAME_BIAS));
    emit(b, I_MXCSR, G_STMXCSR, in_frame(offsetof(struct frame, host_mxcsr)));
    emit(b, I_MXCSR, G_LDMXCSR, in_frame(offsetof(struct frame, mxcsr)));
    emit(b, I_MOV | REX_W, RAX, in_reg(RSI));
    emit_constant(b, RCX, UINT64_MAX);
    emit_push(b, RCX);
    emit(b, I_MOV | REX_W, RCX, in_frame(offsetof(struct frame, slow_return)));
    emit_push(b, RCX);
    emit(b, I_STORE | REX_W, RSP, in_frame(offsetof(struct frame, host_sp)));
    emit(b, I_LEA | REX_W, RCX, at(RSP, -RETURN_BYTES));
    emit(b, I_STORE | REX_W, RCX, in_frame(offsetof(struct frame, return_limit)));
    emit(b, I_MOV | REX_W, R15, in_frame(offsetof(struct frame, limit)));
    move_all(code, b, true);
    emit(b, I_INDIRECT, G_JUMP, in_reg(RAX));
}

static void emit_leave(const struct code *code, struct buffer *b)
{
    move_all(code, b, false);
    emit(b, I_MXCSR, G_STMXCSR, in_frame(offsetof(struct frame, mxcsr)));
    emit(b, I_MXCSR, G_LDMXCSR, in_frame(offsetof(struct frame, host_mxcsr)));
    emit(b, I_MOV | REX_W, RSP, in_frame(offsetof(struct frame, host_sp)));
    emit(b, I_LEA | REX_W, RSP, at(RSP, 16));
    for (unsigned i = sizeof saved; i-- > 0;)
        emit_pop(b, saved[i]);
    put8(b, 0xc3);
}

/* Leaves at the address in rax. */
static void emit_leave_at_rax(struct buffer *b, enum reason reason, uint32_t leave)
{
    emit(b, I_STORE | REX_W, RAX, in_frame(offsetof(struct frame, c.pc)));
    emit(b, I_MOV_IMM32, 0, in_frame(offsetof(struct frame, reason)));
    put32(b, reason);
    land_at(b, emit_jmp(b), leave);
}

bool emit_stubs(struct code *code)
{
    struct translator t = {.code = code};
    struct buffer *b = &t.b;
    emit_enter(code, b);
    uint32_t leave = (uint32_t)b->used;
    emit_leave(code, b);
    uint32_t miss = (uint32_t)b->used;
    emit_leave_at_rax(b, LEFT_MISS, leave);
    uint32_t poll = (uint32_t)b->used;
    emit_leave_at_rax(b, LEFT_POLL, leave);
    uint32_t start = code_place(code, b);
    code->enter = start;
    code->leave = start + leave;
    code->miss = start + miss;
    code->poll = start + poll;
    /* A return to where no call has come from: forgets what calls there were, and goes there as a jump does. */
    buffer_clear(b);
    load_x(&t, RAX, 1);
    emit_imm(b, REX_W, G_AND, in_reg(RAX), -2);
    emit(b, I_MOV | REX_W, RSP, in_frame(offsetof(struct frame, host_sp)));
    jump_to_rax(&t);
    code->slow_return = code_place(code, b);
    buffer_free(b);
    if (!code->slow_return)
        code->enter = 0; /* none of them: there may be room later */
    return code->enter;
}
