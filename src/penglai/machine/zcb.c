/*
 * Zcb, sixteen more compressed instructions, which Unicorn does not know (unprivileged specification, chapter
 * "Zc*").  It would execute their codes, and those beside them that are reserved, as nothing: shortcuts.c lets
 * it find an illegal instruction there, and what is one of Zcb is executed here.
 */
#include "hart.h"

static unsigned short_reg(uint32_t field)
{
    return 8 + field;
}

static uint64_t reg(struct hart *h, unsigned number)
{
    return read_reg(h, UC_RISCV_REG_X0 + (int)number);
}

static void set_reg(struct hart *h, unsigned number, uint64_t value)
{
    write_reg(h, UC_RISCV_REG_X0 + (int)number, value);
}

/* A load or store, byte by byte: it may lie on two pages.  False if it faults, with cause and address in t. */
static bool move(struct hart *h, const struct view *v, const struct access *a, struct trap *t)
{
    uint64_t address = reg(h, a->base) + (uint64_t)a->offset, value = reg(h, a->reg), place[2];
    uint64_t rights =
        a->store ? PTE_W | PTE_A | PTE_D : PTE_R | PTE_A; /* who lacks A or D gets a page fault */
    uint8_t byte[2] = {(uint8_t)value, (uint8_t)(value >> 8)};
    for (unsigned i = 0; i < a->bytes; i++) {
        bool mapped = translate(h, v, address + i, rights, &place[i]);
        uint8_t old;
        if (mapped && bus_read(h, place[i], a->store ? &old : &byte[i], 1))
            continue;
        t->cause = mapped ? CAUSE_LOAD_ACCESS : CAUSE_LOAD_PAGE;
        t->cause += a->store ? CAUSE_STORE_ACCESS - CAUSE_LOAD_ACCESS : 0;
        t->tval = address + i;
        return false;
    }
    if (a->store) {
        for (unsigned i = 0; i < a->bytes; i++)
            store_byte(h, place[i], byte[i]);
        return true;
    }
    value = a->bytes == 2 ? byte[0] | (uint64_t)byte[1] << 8 : byte[0];
    set_reg(h, a->reg, a->zero_extended ? value : (uint64_t)(int64_t)(int16_t)value);
    return true;
}

/* The instructions on one register, and c.mul.  False if insn is none of them. */
static bool compute(struct hart *h, uint32_t insn)
{
    unsigned rd = short_reg(bits(insn, 9, 7)), which = bits(insn, 4, 2);
    uint64_t value = reg(h, rd);
    if ((insn & 0xfc43) != 0x9c41)
        return false;
    if (!bits(insn, 5, 5)) {
        set_reg(h, rd, value * reg(h, short_reg(which)));
        return true;
    }
    switch (which) {
    case 0: /* c.zext.b */
        value = (uint8_t)value;
        break;
    case 1: /* c.sext.b */
        value = (uint64_t)(int64_t)(int8_t)value;
        break;
    case 2: /* c.zext.h */
        value = (uint16_t)value;
        break;
    case 3: /* c.sext.h */
        value = (uint64_t)(int64_t)(int16_t)value;
        break;
    case 4: /* c.zext.w */
        value = (uint32_t)value;
        break;
    case 5: /* c.not */
        value = ~value;
        break;
    default:
        return false;
    }
    set_reg(h, rd, value);
    return true;
}

enum settled execute_zcb(struct hart *h, const struct view *v, uint32_t insn, struct trap *t)
{
    struct access a = {0};
    if (decode_zcb_access(insn, &a))
        return move(h, v, &a, t) ? EXECUTED : FAULTED;
    return compute(h, insn) ? EXECUTED : ILLEGAL;
}
