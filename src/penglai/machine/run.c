/*
 * What Python calls: a hart of enclaves is opened, runs contexts on the engine that it has for them, is stopped,
 * and closed.
 */
#include <stdlib.h>
#include "hart.h"

#define DEAD_PAGES_MAX 256

EXPORT void hart_close(struct hart *h)
{
    if (h && h->native)
        native_close(h->native);
    if (h)
        hart_release(h);
    free(h);
}

EXPORT struct hart *hart_open(void *ram, uint64_t base, uint64_t bytes, struct clock *clock, struct run *run)
{
    struct hart *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    if (!hart_prepare(h, ram, base, bytes, clock) || uc_mem_map_ptr(h->uc, base, bytes, UC_PROT_ALL, ram)) {
        hart_close(h);
        return NULL;
    }
    h->run = run;
    write_reg(h, UC_RISCV_REG_MSTATUS, run->without_floats ? 0 : MSTATUS_FS_DIRTY);
    return h;
}

/* True if this hart may touch the context: nobody has taken it away or is about to. */
static bool owns(struct hart *h, struct context *c)
{
    return atomic_load(&c->owner) == h->run->owner && !atomic_load(&h->pending);
}

/* Returns 0, or the uc_err of an engine that gave up. */
static int run(struct hart *h, struct context *c, uint64_t blocks)
{
    struct trap *t = &h->run->trap;
    struct access a;
    int error = 0;
    load_context(h, c);
    *t = (struct trap){.cause = CAUSE_M_TIMER};
    if (arm(h, h->run->deadline, blocks)) {
        do
            error = step(h, &c->pc, t, &a);
        while (!error && t->cause == NO_CAUSE && !is_break(h, c->pc));
        if (!error && t->cause == NO_CAUSE)
            t->cause = CAUSE_DEBUG;
    }
    if (t->cause == CAUSE_M_TIMER) /* Unicorn's TLB grows with the program's needs only when it is flushed */
        h->tlb_stale = true;
    t->epc = c->pc;
    if (atomic_load(&c->owner) != h->run->owner)
        return FOREIGN_CONTEXT;
    save_context(h, c);
    return error;
}

/*
 * Runs a context until a trap, which it leaves in the record, until the record's deadline, or until
 * hart_interrupt().  Returns 0, or the uc_err of an engine that gave up, or FOREIGN_CONTEXT if somebody gave
 * the context to another hart without hart_interrupt().
 *
 * Whoever takes a context away sets `pending`, waits until the hart is out of the guest, and then changes its
 * owner.  A hart that comes later than that, because its thread had to wait for a core, finds `pending` or
 * another owner, and touches nothing: the context may be another hart's by now.
 */
EXPORT int hart_run(struct hart *h, struct context *c)
{
    uint64_t blocks = h->run->blocks;
    int error = 0;
    h->run->blocks = 0;
    h->run->trap = (struct trap){.cause = CAUSE_M_SOFTWARE};
    enter_guest(h);
    if (atomic_exchange(&h->run->stale, 0)) {
        h->tlb_stale = true;
        if (h->native)
            native_flush(h->native);
    }
    if (owns(h, c))
        error = h->native && !blocks && !h->break_count ? native_run(h->native, c) : run(h, c, blocks);
    leave_guest(h);
    return error;
}

/*
 * Returns when the hart executes no guest instruction, with its context saved; it will execute none
 * until hart_acknowledge().  From any thread.
 */
EXPORT void hart_interrupt(struct hart *h)
{
    atomic_store(&h->pending, 1);
    if (h->native)
        native_want(h->native);
    await_exit(h);
}

EXPORT void hart_acknowledge(struct hart *h)
{
    atomic_store(&h->pending, 0);
}

/*
 * Forgets what was translated from [start, end), physical.  On the hart's own thread, between runs.
 * Unicorn's buffer gets room again only when all of it is flushed: so now and then all of it is.
 */
EXPORT int hart_invalidate(struct hart *h, uint64_t start, uint64_t end)
{
    if (h->native)
        native_invalidate(h->native, start, end);
    h->dead_pages += (end - start) / PAGE_BYTES;
    if (h->dead_pages >= DEAD_PAGES_MAX) {
        h->dead_pages = 0;
        return uc_ctl_flush_tb(h->uc);
    }
    write_reg(h, UC_RISCV_REG_PRIV, PRIV_M); /* without translation: addresses are physical */
    return uc_ctl_remove_cache(h->uc, start, end);
}
