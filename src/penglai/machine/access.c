/* Memory as the guest sees it: walks page tables and decodes the accesses that instructions make. */
#include <string.h>
#include "hart.h"

enum { SATP_BARE = 0, SATP_SV39 = 8, SATP_SV57 = 10 };

/*
 * The only place in the engine that reads RAM on behalf of a world.  A page that the world's bus does not
 * show does not exist, whatever the engine's TLB says.  Whoever hides a page waits until the hart has left
 * the guest before writing anything to it, so a page that was shown when it was checked is still shown when
 * it is copied.
 */
bool bus_read(const struct hart *h, uint64_t pa, void *out, uint64_t bytes)
{
    uint64_t offset = pa - h->ram_base;
    if (pa < h->ram_base || offset >= h->ram_bytes || h->ram_bytes - offset < bytes)
        return false;
    if (h->hidden)
        for (uint64_t page = offset / PAGE_BYTES; page * PAGE_BYTES < offset + bytes; page++)
            if (__atomic_load_n(&h->hidden[page], __ATOMIC_RELAXED))
                return false;
    memcpy(out, h->ram + offset, bytes);
    return true;
}

/*
 * The leaf PTE that maps va in Sv39, Sv48 or Sv57, and the physical address of va's page; 0 if there is none.
 * PTEs are read as the engine reads them: bits 54 to 61 are part of the frame number, bits 62 and 63 are
 * ignored.
 */
static uint64_t walk(const struct hart *h, uint64_t satp, uint64_t va, uint64_t *page)
{
    unsigned mode = satp >> 60;
    if (mode == SATP_BARE) {
        *page = va & ~PAGE_MASK;
        return PTE_V | PTE_R | PTE_W | PTE_X | PTE_U | PTE_A | PTE_D;
    }
    if (mode < SATP_SV39 || mode > SATP_SV57)
        return 0;
    int shift = 30 + 9 * (int)(mode - SATP_SV39);
    int unused = 64 - shift - 9;
    if ((int64_t)(va << unused) >> unused != (int64_t)va)
        return 0;
    uint64_t table = (satp & (((uint64_t)1 << 44) - 1)) << 12;
    for (; shift >= 12; shift -= 9) {
        uint64_t pte;
        if (!bus_read(h, table + ((va >> shift) & 511) * 8, &pte, sizeof pte) || !(pte & PTE_V))
            return 0;
        table = pte >> 10 << 12;
        if (pte & (PTE_R | PTE_W | PTE_X)) {
            uint64_t offset = (((uint64_t)1 << shift) - 1) & ~PAGE_MASK;
            if ((pte & (PTE_R | PTE_W)) == PTE_W || table & offset)
                return 0; /* reserved; a huge page that is not aligned */
            *page = table | (va & offset);
            return pte;
        }
    }
    return 0;
}

bool translate(const struct hart *h, const struct view *v, uint64_t va, uint64_t rights, uint64_t *pa)
{
    uint64_t page, pte = walk(h, v->satp, va, &page);
    if (!pte)
        return false;
    if (v->supervisor) {
        if (v->satp >> 60 && (pte & PTE_U) && (!v->sum || rights & PTE_X))
            return false;
    } else {
        rights |= PTE_U;
    }
    if (v->mxr && pte & PTE_X)
        pte |= PTE_R;
    *pa = page | (va & PAGE_MASK);
    return (pte & rights) == rights;
}

/* A halfword at an odd address may span two pages.  No jump leads there, but a return from a trap can. */
bool fetch16(const struct hart *h, const struct view *v, uint64_t va, uint16_t *out)
{
    bool whole = (va & PAGE_MASK) < PAGE_MASK;
    uint8_t bytes[2];
    for (unsigned at = 0; at < sizeof bytes; at += whole ? 2 : 1) {
        uint64_t pa;
        if (!translate(h, v, va + at, PTE_X, &pa) || !bus_read(h, pa, bytes + at, whole ? 2 : 1))
            return false;
    }
    memcpy(out, bytes, sizeof bytes);
    return true;
}

uint32_t fetch(const struct hart *h, const struct view *v, uint64_t va)
{
    uint16_t low, high;
    if (!fetch16(h, v, va, &low))
        return 0;
    if ((low & 3) != 3)
        return low;
    if (!fetch16(h, v, va + 2, &high))
        return 0;
    return low | (uint32_t)high << 16;
}

uint32_t bits(uint32_t value, int high, int low)
{
    return value >> low & ((2u << (high - low)) - 1);
}

static int64_t sign_extend(uint32_t value, int width)
{
    return (int64_t)((uint64_t)value << (64 - width)) >> (64 - width);
}

static bool decode32(uint32_t insn, struct access *a)
{
    unsigned opcode = insn & 0x7f;
    a->base = bits(insn, 19, 15);
    a->bytes = 1u << bits(insn, 13, 12);
    a->zero_extended = bits(insn, 14, 14);
    a->floating = opcode == 0x07 || opcode == 0x27;
    switch (opcode) {
    case 0x03: /* LOAD */
    case 0x07: /* LOAD-FP */
        a->offset = sign_extend(bits(insn, 31, 20), 12);
        a->reg = bits(insn, 11, 7);
        return true;
    case 0x23: /* STORE */
    case 0x27: /* STORE-FP */
        a->offset = sign_extend(bits(insn, 31, 25) << 5 | bits(insn, 11, 7), 12);
        a->reg = bits(insn, 24, 20);
        a->store = true;
        return true;
    case 0x2f: /* AMO */
        a->atomic = true;
        a->reserve = bits(insn, 31, 27) == 2;
        a->store = !a->reserve;
        return true;
    }
    return false;
}

/* RV64C, unprivileged specification, chapter "C": quadrant 0 by register, quadrant 2 by sp. */
static bool decode16(uint32_t insn, struct access *a)
{
    unsigned kind = bits(insn, 15, 13);
    bool word = kind == 2 || kind == 6; /* lw, sw; the others move 8 bytes */
    a->bytes = word ? 4 : 8;
    a->store = kind >= 5;
    a->floating = kind == 1 || kind == 5;
    if ((insn & 3) == 0 && kind != 0 && kind != 4) {
        a->base = 8 + bits(insn, 9, 7);
        a->reg = 8 + bits(insn, 4, 2);
        a->offset = bits(insn, 12, 10) << 3;
        a->offset |= word ? bits(insn, 6, 6) << 2 | bits(insn, 5, 5) << 6 : bits(insn, 6, 5) << 6;
        return true;
    }
    if ((insn & 3) != 2)
        return false;
    a->base = 2;
    a->reg = a->store ? bits(insn, 6, 2) : bits(insn, 11, 7);
    switch (kind) {
    case 1: /* fldsp */
    case 3: /* ldsp */
        a->offset = bits(insn, 12, 12) << 5 | bits(insn, 6, 5) << 3 | bits(insn, 4, 2) << 6;
        return true;
    case 2: /* lwsp */
        a->offset = bits(insn, 12, 12) << 5 | bits(insn, 6, 4) << 2 | bits(insn, 3, 2) << 6;
        return true;
    case 5: /* fsdsp */
    case 7: /* sdsp */
        a->offset = bits(insn, 12, 10) << 3 | bits(insn, 9, 7) << 6;
        return true;
    case 6: /* swsp */
        a->offset = bits(insn, 12, 9) << 2 | bits(insn, 8, 7) << 6;
        return true;
    }
    return false;
}

bool is_unknown16(uint32_t insn)
{
    return (insn & 0xe003) == 0x8000 || (insn & 0xfc43) == 0x9c41;
}

bool decode_zcb_access(uint32_t insn, struct access *a)
{
    unsigned kind = bits(insn, 12, 10);
    if ((insn & 0xe003) != 0x8000 || kind > 3 || (kind == 3 && bits(insn, 6, 6)))
        return false;
    bool half = kind & 1;
    a->bytes = half ? 2 : 1;
    a->store = kind >= 2;
    a->zero_extended = !half || !bits(insn, 6, 6);
    a->base = 8 + bits(insn, 9, 7);
    a->reg = 8 + bits(insn, 4, 2);
    a->offset = bits(insn, 5, 5) << 1 | (half ? 0 : bits(insn, 6, 6));
    return true;
}

bool decode_access(uint32_t insn, struct access *a)
{
    *a = (struct access){0};
    if ((insn & 3) == 3)
        return decode32(insn, a);
    return decode16(insn, a) || decode_zcb_access(insn, a);
}
