/* x86-64, Intel's Software Developer's Manual, volume 2, chapter 2: prefixes, opcode, ModRM, SIB, displacement. */
#include <stdlib.h>
#include <string.h>
#include "emit.h"

static bool grow(void **items, size_t *room, size_t wanted, size_t bytes, bool *failed)
{
    if (wanted <= *room)
        return true;
    size_t more = *room ? *room * 2 : 1024;
    void *moved = *failed ? NULL : realloc(*items, more * bytes);
    if (!moved) {
        *failed = true;
        return false;
    }
    *items = moved;
    *room = more;
    return true;
}

void put8(struct buffer *b, uint8_t value)
{
    if (grow((void **)&b->bytes, &b->room, b->used + 1, 1, &b->failed))
        b->bytes[b->used++] = value;
}

void put32(struct buffer *b, uint32_t value)
{
    for (int shift = 0; shift < 32; shift += 8)
        put8(b, (uint8_t)(value >> shift));
}

void put64(struct buffer *b, uint64_t value)
{
    put32(b, (uint32_t)value);
    put32(b, (uint32_t)(value >> 32));
}

static void note_site(struct buffer *b)
{
    if (grow((void **)&b->sites, &b->site_room, b->site_count + 1, sizeof *b->sites, &b->failed))
        b->sites[b->site_count++] = (struct site){(uint32_t)b->used, b->pc};
}

static bool fits8(int32_t value)
{
    return value >= -128 && value < 128;
}

static uint8_t modrm(unsigned mod, unsigned reg, unsigned rm)
{
    return (uint8_t)(mod << 6 | (reg & 7) << 3 | (rm & 7));
}

/* ModRM with what follows it.  A base of rsp or r12 needs a SIB; one of rbp or r13 a displacement. */
static void put_place(struct buffer *b, unsigned reg, struct place p)
{
    if (p.kind == IN_REG) {
        put8(b, modrm(3, reg, p.base));
        return;
    }
    if (p.base == NO_REG) {
        put8(b, modrm(0, reg, 4));
        put8(b, 0x25);
        put32(b, (uint32_t)p.offset);
        return;
    }
    bool sib = p.kind == INDEXED || (p.base & 7) == RSP;
    unsigned mod = p.offset == 0 && (p.base & 7) != RBP ? 0 : fits8(p.offset) ? 1 : 2;
    put8(b, modrm(mod, reg, sib ? 4 : p.base));
    if (sib)
        put8(b, modrm(p.scale, p.kind == INDEXED ? p.index : 4, p.base));
    if (mod == 1)
        put8(b, (uint8_t)p.offset);
    else if (mod == 2)
        put32(b, (uint32_t)p.offset);
}

/* Which halves of the registers: REX.R, X and B. */
static uint8_t high_bits(unsigned reg, struct place p)
{
    unsigned base = p.base == NO_REG ? 0 : p.base, index = p.kind == INDEXED ? p.index : 0;
    return (uint8_t)((reg >> 3 & 1) << 2 | (index >> 3) << 1 | base >> 3);
}

void emit(struct buffer *b, uint32_t op, unsigned reg, struct place p)
{
    if (p.kind == IN_GUEST)
        note_site(b);
    if (op & LOCK)
        put8(b, 0xf0);
    if (op & P66)
        put8(b, 0x66);
    if (op & PF2)
        put8(b, 0xf2);
    if (op & PF3)
        put8(b, 0xf3);
    if (p.kind == IN_GUEST)
        put8(b, 0x65); /* gs */
    uint8_t rex = (uint8_t)(0x40 | (op & REX_W ? 8 : 0) | high_bits(reg, p));
    if (rex != 0x40 || op & BYTES)
        put8(b, rex);
    if (op & (ESCAPE | ESCAPE38))
        put8(b, 0x0f);
    if (op & ESCAPE38)
        put8(b, 0x38);
    put8(b, (uint8_t)op);
    put_place(b, reg, p);
}

void emit_imm(struct buffer *b, uint32_t wide, unsigned number, struct place p, int32_t value)
{
    emit(b, (fits8(value) ? I_GROUP_IMM8 : I_GROUP_IMM32) | wide, number, p);
    if (fits8(value))
        put8(b, (uint8_t)value);
    else
        put32(b, (uint32_t)value);
}

void emit_shift(struct buffer *b, uint32_t wide, unsigned number, struct place p, unsigned count)
{
    if (!count)
        return;
    emit(b, I_SHIFT | wide, number, p);
    put8(b, (uint8_t)count);
}

void emit_constant(struct buffer *b, enum reg reg, uint64_t value)
{
    if (!value) {
        emit(b, I_XOR, reg, in_reg(reg));
    } else if (value <= UINT32_MAX) {
        if (reg > RDI)
            put8(b, 0x41);
        put8(b, (uint8_t)(0xb8 | (reg & 7)));
        put32(b, (uint32_t)value);
    } else if ((int64_t)value == (int32_t)value) {
        emit(b, I_MOV_IMM32 | REX_W, 0, in_reg(reg));
        put32(b, (uint32_t)value);
    } else {
        put8(b, (uint8_t)(0x48 | reg >> 3));
        put8(b, (uint8_t)(0xb8 | (reg & 7)));
        put64(b, value);
    }
}

void emit_store_constant(struct buffer *b, struct place p, int32_t value)
{
    emit(b, I_MOV_IMM32 | REX_W, 0, p);
    put32(b, (uint32_t)value);
}

void emit_vex(struct buffer *b, struct vex op, unsigned reg, unsigned first, struct place p)
{
    put8(b, 0xc4);
    put8(b, (uint8_t)((~high_bits(reg, p) & 7) << 5 | op.map));
    put8(b, (uint8_t)((op.wide ? 0x80 : 0) | (~first & 15) << 3 | op.prefix));
    put8(b, op.code);
    put_place(b, reg, p);
}

void emit_setcc(struct buffer *b, enum condition condition, enum reg reg)
{
    emit(b, ESCAPE | BYTES | 0x90 | condition, 0, in_reg(reg));
}

void emit_push(struct buffer *b, enum reg reg)
{
    if (reg > RDI)
        put8(b, 0x41);
    put8(b, (uint8_t)(0x50 | (reg & 7)));
}

void emit_pop(struct buffer *b, enum reg reg)
{
    if (reg > RDI)
        put8(b, 0x41);
    put8(b, (uint8_t)(0x58 | (reg & 7)));
}

static uint32_t put_distance(struct buffer *b)
{
    uint32_t from = (uint32_t)b->used;
    put32(b, 0);
    return from;
}

uint32_t emit_jcc(struct buffer *b, enum condition condition)
{
    put8(b, 0x0f);
    put8(b, (uint8_t)(0x80 | condition));
    return put_distance(b);
}

uint32_t emit_jmp(struct buffer *b)
{
    put8(b, 0xe9);
    return put_distance(b);
}

uint32_t emit_call(struct buffer *b)
{
    put8(b, 0xe8);
    return put_distance(b);
}

void land_at(struct buffer *b, uint32_t from, uint32_t target)
{
    uint32_t distance = target - (from + 4);
    if (!b->failed)
        memcpy(b->bytes + from, &distance, sizeof distance);
}

void land(struct buffer *b, uint32_t from)
{
    land_at(b, from, (uint32_t)b->used);
}

void land_outside(struct buffer *b, uint32_t from, uint64_t target)
{
    if (grow((void **)&b->fixups, &b->fixup_room, b->fixup_count + 1, sizeof *b->fixups, &b->failed))
        b->fixups[b->fixup_count++] = (struct fixup){from, target};
}

void buffer_clear(struct buffer *b)
{
    b->used = b->site_count = b->fixup_count = 0;
    b->failed = false;
}

void buffer_free(struct buffer *b)
{
    free(b->bytes);
    free(b->sites);
    free(b->fixups);
    *b = (struct buffer){0};
}

bool append(void **items, size_t *room, size_t count, size_t bytes, bool *failed)
{
    if (count < *room)
        return true;
    size_t more = *room ? *room * 2 : 256;
    void *moved = *failed ? NULL : realloc(*items, more * bytes);
    *failed |= !moved;
    if (moved) {
        *items = moved;
        *room = more;
    }
    return moved;
}
