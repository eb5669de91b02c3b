/*
 * What of a text was executed, for the owner of the machine, who switches it on for a hart: counted at the beginnings
 * of Unicorn's blocks.  Of a block it is known only afterwards how far it came: so each is counted when the next one
 * begins, or when the hart leaves the guest.
 *
 * Everything is indexed by halfwords of the text, as instructions are.
 */
#include "hart.h"

/* The halfwords [start, end) were executed once more: a sum from the left gives how often each one was. */
static void count(struct coverage *c, uint64_t start, uint64_t end)
{
    uint64_t first = (start - c->start) / 2;
    c->fresh += c->changes[first] == 0;
    c->changes[first]++;
    c->changes[(end - c->start) / 2]--;
}

/* The block came to its end, and what follows is at `next`. */
static void finish_block(struct hart *h, uint64_t next)
{
    struct coverage *c = h->coverage;
    count(c, h->count_start, h->count_end);
    uint64_t last = (h->count_end - c->start) / 2 - 1;
    uint64_t *way = next == h->count_end ? &c->passed[last] : &c->jumped[last];
    c->fresh += *way == 0;
    ++*way;
    h->count_end = 0;
}

static void on_counted_block(uc_engine *uc, uint64_t address, uint32_t bytes, void *user)
{
    struct hart *h = user;
    struct coverage *c = h->coverage;
    (void)uc;
    if (!c)
        return;
    if (h->count_end)
        finish_block(h, address);
    uint64_t offset = address - c->start;
    if (bytes && offset < c->bytes && bytes <= c->bytes - offset) {
        h->count_start = address;
        h->count_end = address + bytes;
    }
}

void count_left(struct hart *h, uint64_t pc, uint64_t cause)
{
    if (!h->coverage || !h->count_end)
        return;
    if (pc - h->count_start >= h->count_end - h->count_start) {
        finish_block(h, pc);
        return;
    }
    uint64_t end = pc + (cause & CAUSE_INTERRUPT ? 0 : 2); /* what trapped has been reached */
    if (end > h->count_start)
        count(h->coverage, h->count_start, end);
    h->count_end = 0;
}

/*
 * The hart can count from now on; what it has translated before is forgotten.  Before its first run, or between runs
 * on its own thread.  Returns 0, or a uc_err.
 */
EXPORT int hart_count(struct hart *h)
{
    uc_hook hook;
    int error = uc_hook_add(h->uc, &hook, UC_HOOK_BLOCK, on_counted_block, h, 1, 0);
    return error ? error : uc_ctl_flush_tb(h->uc);
}

/* Where it counts from its next run on; NULL: nowhere.  On the hart's own thread, between runs. */
EXPORT void hart_count_in(struct hart *h, struct coverage *coverage)
{
    h->coverage = coverage;
    h->count_end = 0;
}
