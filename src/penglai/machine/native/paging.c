/* The guest's page tables, as the monitor has written them into RAM.  Only Sv39, and only its pages of 4 KiB. */
#include "native.h"

uint64_t physical(uint64_t entry)
{
    return (entry & PTE_PPN) << 2;
}

bool in_ram(const struct hart *h, uint64_t pa)
{
    return pa >= h->ram_base && pa - h->ram_base < h->ram_bytes;
}

const uint64_t *table_at(const struct hart *h, uint64_t pa)
{
    return in_ram(h, pa) ? (const uint64_t *)(h->ram + (pa - h->ram_base)) : NULL;
}

const uint64_t *leaf_table(const struct hart *h, uint64_t satp, uint64_t va)
{
    uint64_t table = (satp & (((uint64_t)1 << 44) - 1)) << 12;
    for (int shift = 30;; shift -= 9) {
        const uint64_t *words = table_at(h, table);
        if (shift == 12 || !words)
            return words;
        uint64_t entry = __atomic_load_n(&words[va >> shift & 511], __ATOMIC_RELAXED);
        if (!(entry & PTE_V) || entry & (PTE_R | PTE_W | PTE_X)) /* huge pages too: the other engine's */
            return NULL;
        table = physical(entry);
    }
}

uint64_t entry_of(const struct hart *h, uint64_t satp, uint64_t va)
{
    const uint64_t *words = leaf_table(h, satp, va);
    return words ? __atomic_load_n(&words[va >> 12 & 511], __ATOMIC_RELAXED) : 0;
}
