/*
 * The inner loop of a hart, on the Unicorn engine.
 *
 * A hart takes a context (x, f, fcsr, pc, privilege, satp), runs it until a trap, a deadline or a
 * request, and leaves the exact state behind.  It does what a hart's hardware does and decides
 * nothing: what a trap means is for the firmware and the monitor, in Python.
 *
 * Unicorn has traps of its own, and each is met here, once:
 *
 *   - Nothing is changed inside a hook: a hook records and calls uc_emu_stop().  The trap is handled
 *     after uc_emu_start() has returned.
 *   - uc_emu_stop() from another thread would do a store or an atomic twice.  Other threads only set
 *     `pending`; the hart's own thread looks at it at the beginning of each block, and stops there.
 *   - The pc in an exception hook is the faulting pc + 4, whatever the instruction's length.
 *   - The faulting address is not exposed: it is decoded from the instruction and the registers.
 *   - An instruction fetch that fails in the middle of a block is reported at the block's start, with
 *     nothing of the block executed: see settle_fetch_fault().
 *   - CSRs are read and written under the current privilege: satp is set in M-mode.
 *   - A new satp flushes nothing: the next program at the same address would run the last one's code.
 *   - Translations survive a change of the memory below them: hart_invalidate().
 *
 * Built by penglai.machine.library with the headers of the installed unicorn package.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "hart.h"

/* ---- hooks ------------------------------------------------------------------------------------ */

static void on_exception(uc_engine *uc, uint32_t code, void *user)
{
    struct hart *h = user;
    static const int ids[] = {UC_RISCV_REG_PC, UC_RISCV_REG_PRIV};
    h->exception = code;
    uc_reg_read_batch(uc, ids, (void *[]){&h->hook_pc, &h->priv}, 2);
    uc_emu_stop(uc);
}

static void on_block(uc_engine *uc, uint64_t address, uint32_t bytes, void *user)
{
    (void)uc, (void)address, (void)bytes;
    begin_block(user);
}

/* ---- execution -------------------------------------------------------------------------------- */

/* One uc_emu_start() from *pc.  Leaves h->interrupt or a cause in t; returns a uc_err. */
static int emulate(struct hart *h, uint64_t *pc, struct trap *t)
{
    h->interrupt = h->exception = NO_CAUSE;
    h->half_at = NOWHERE;
    running = h->shortcuts ? h : NULL;
    counters_hidden = h->run != NULL; /* an operating system has its own */
    int error = uc_emu_start(h->uc, *pc, 0, 0, 0);
    counters_hidden = false;
    running = NULL;
    *t = (struct trap){.cause = NO_CAUSE};
    if (h->exception != NO_CAUSE) {
        t->cause = h->exception;
        *pc = h->hook_pc - 4;
        /* A block that is empty, since it begins at an exit, has its last byte on the page before. */
        if (t->cause == CAUSE_FETCH_PAGE && is_break(h, *pc))
            t->cause = NO_CAUSE;
        return 0;
    }
    *pc = read_reg(h, UC_RISCV_REG_PC);
    if (error == UC_ERR_OK) {
        t->cause = h->interrupt;
        return 0;
    }
    h->priv = read_reg(h, UC_RISCV_REG_PRIV);
    if (error == UC_ERR_INSN_INVALID &&
        is_break(h, *pc)) /* so Unicorn calls a block that begins at an exit */
        return 0;
    switch (error) {
    case UC_ERR_INSN_INVALID:
        t->cause = CAUSE_ILLEGAL;
        return 0;
    case UC_ERR_READ_UNMAPPED:
    case UC_ERR_READ_PROT:
        t->cause = CAUSE_LOAD_ACCESS;
        return 0;
    case UC_ERR_WRITE_UNMAPPED:
    case UC_ERR_WRITE_PROT:
        t->cause = CAUSE_STORE_ACCESS;
        return 0;
    case UC_ERR_FETCH_UNMAPPED:
    case UC_ERR_FETCH_PROT:
        t->cause = CAUSE_FETCH_ACCESS;
        return 0;
    }
    return error;
}

/*
 * A fetch fault whose own instruction is there comes from further on in the block: the instruction at
 * the end of the page reaches into the next one.  What stands before it has to be executed first, and
 * may trap itself, so the last halfword of the page becomes an exit for one run.  If that changes
 * nothing, the block was translated when the next page was still there, and looking it up is what faults: it
 * has to be forgotten.  If that changes nothing either, it is another case: Unicorn reports an illegal 16-bit
 * instruction at the start of a page so.
 */
static int settle_fetch_fault(struct hart *h, uint64_t *pc, struct trap *t)
{
    uint64_t previous = ~*pc, forgotten = ~*pc, last;
    uint16_t low, high;
    int error = 0;
    while (!error && t->cause == CAUSE_FETCH_PAGE) {
        struct view v = look(h);
        t->tval = *pc;
        if (!fetch16(h, &v, *pc, &low))
            return 0;
        if ((low & 3) == 3 && !fetch16(h, &v, *pc + 2, &high)) {
            t->tval = *pc + 2;
            return 0;
        }
        if (*pc == forgotten) {
            t->cause = CAUSE_ILLEGAL;
            return 0;
        }
        if (*pc == previous) {
            forgotten = *pc;
            uc_ctl_remove_cache(h->uc, *pc, *pc + 2);
        }
        previous = *pc;
        last = (*pc | PAGE_MASK) - 1;
        h->breaks[h->break_count] = last;
        uc_ctl_set_exits(h->uc, h->breaks, h->break_count + 1);
        error = emulate(h, pc, t);
        uc_ctl_set_exits(h->uc, h->breaks, h->break_count);
        if (!error && t->cause == NO_CAUSE) /* an exit was reached: on from there, as usual */
            error = emulate(h, pc, t);
    }
    return error;
}

/* Executes rdtime, which Unicorn's CPU lacks, and rdcycle.  False if insn is a different instruction. */
static bool execute_counter(struct hart *h, uint64_t *pc, uint32_t insn)
{
    uint64_t value;
    if ((insn & 0x000ff07f) != 0x00002073 || !read_counter(h, insn >> 20, &value)) /* csrrs rd, csr, x0 */
        return false;
    unsigned rd = bits(insn, 11, 7);
    if (rd)
        write_reg(h, UC_RISCV_REG_X0 + (int)rd, value);
    *pc += 4;
    return true;
}

static bool is_data_fault(uint64_t cause)
{
    return cause == CAUSE_LOAD_MISALIGNED || cause == CAUSE_LOAD_ACCESS || cause == CAUSE_STORE_MISALIGNED ||
           cause == CAUSE_STORE_ACCESS || cause == CAUSE_LOAD_PAGE || cause == CAUSE_STORE_PAGE;
}

/* True if translation and bus permit an access with these rights at va. */
static bool reachable(const struct hart *h, const struct view *v, uint64_t va, uint64_t rights)
{
    uint64_t pa;
    uint8_t byte;
    return translate(h, v, va, rights, &pa) && bus_read(h, pa, &byte, sizeof byte);
}

/* The access that faulted, its address and, where Unicorn calls an atomic a load, the cause. */
static void describe_data_fault(struct hart *h, uint64_t pc, struct trap *t, struct access *a)
{
    struct view v = look(h);
    if (!decode_access(fetch(h, &v, pc), a))
        return;
    bool load =
        t->cause == CAUSE_LOAD_MISALIGNED || t->cause == CAUSE_LOAD_ACCESS || t->cause == CAUSE_LOAD_PAGE;
    if (a->store && load) {
        t->cause += 2;
        load = false;
    }
    uint64_t base = a->base ? read_reg(h, UC_RISCV_REG_X0 + (int)a->base) : 0;
    uint64_t address = base + (uint64_t)a->offset, last = address + a->bytes - 1;
    bool misaligned = t->cause == CAUSE_LOAD_MISALIGNED || t->cause == CAUSE_STORE_MISALIGNED;
    bool crosses = (address ^ last) & ~PAGE_MASK;
    if (crosses && !misaligned && reachable(h, &v, address, load ? PTE_R : PTE_W))
        address = last & ~PAGE_MASK; /* the portion of the access that faulted */
    t->tval = address;
}

/* Unicorn reports an illegal instruction.  True if it has been executed here. */
static bool settle_illegal(struct hart *h, uint64_t *pc, struct trap *t, struct access *a)
{
    struct view v = look(h);
    uint32_t insn = fetch(h, &v, *pc);
    if (execute_counter(h, pc, insn))
        return true;
    if (is_unknown16(insn)) {
        enum settled settled = execute_zcb(h, &v, insn, t);
        if (settled == FAULTED)
            decode_access(insn, a);
        if (settled == EXECUTED)
            *pc += 2;
        if (settled != ILLEGAL)
            return settled == EXECUTED;
    }
    t->tval = insn;
    if (insn == 0x00100073 || insn == 0x9002) { /* ebreak, c.ebreak */
        t->cause = CAUSE_BREAKPOINT;
        t->tval = *pc;
    }
    return false;
}

int step(struct hart *h, uint64_t *pc, struct trap *t, struct access *a)
{
    for (;;) {
        if (atomic_load(&h->pending)) {
            *t = (struct trap){.cause = CAUSE_M_SOFTWARE};
            return 0;
        }
        int error = emulate(h, pc, t);
        if (!error && t->cause == CAUSE_FETCH_PAGE)
            error = settle_fetch_fault(h, pc, t);
        if (error)
            return error;
        if (t->cause == CAUSE_ILLEGAL) {
            if (!settle_illegal(h, pc, t, a))
                return 0;
            charge(h);
            continue;
        }
        if (t->cause == CAUSE_FETCH_ACCESS)
            t->tval = *pc;
        else if (is_data_fault(t->cause))
            describe_data_fault(h, *pc, t, a);
        return 0;
    }
}

/* ---- what Python calls ------------------------------------------------------------------------ */

/*
 * The buffer for translated code, which is emptied when it is full.  Unicorn's default is 1 GiB; a busy Linux
 * fills that in minutes.
 */
#define TRANSLATED_BYTES (128u << 20)

/* What it takes beside, and what the process needs while the hart runs, with room to spare. */
#define OTHER_BYTES (64u << 20)

/* Unicorn ends the process when it gets no memory: so whether there is enough for a hart is tried beforehand. */
static bool have_memory(void)
{
    size_t bytes = TRANSLATED_BYTES + OTHER_BYTES;
    void *tried = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return tried != MAP_FAILED && !munmap(tried, bytes);
}

static size_t state_bytes(const struct hart *h)
{
    return h->ram_bytes / PAGE_BYTES * sizeof *h->pages;
}

static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER; /* what is tried is not to go to another hart */

static bool make_engine(struct hart *h)
{
    uc_hook exception_hook, block_hook;
    /*
     * Zeroed memory that costs nothing until it is touched; calloc() would clear memory that the heap has
     * kept.
     */
    h->pages = mmap(NULL, state_bytes(h), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (h->pages == MAP_FAILED || uc_open(UC_ARCH_RISCV, UC_MODE_RISCV64, &h->uc))
        return false;
    if (uc_ctl_set_tcg_buffer_size(h->uc, TRANSLATED_BYTES))
        return false;
    h->shortcuts = has_shortcuts(h);
    return (h->shortcuts || !uc_hook_add(h->uc, &block_hook, UC_HOOK_BLOCK, on_block, h, 1, 0)) &&
           !uc_ctl_exits_enable(h->uc) && /* no address ends emulation by itself */
           !uc_hook_add(h->uc, &exception_hook, UC_HOOK_INTR, on_exception, h, 1, 0);
}

bool hart_prepare(struct hart *h, void *ram, uint64_t base, uint64_t bytes, struct clock *clock)
{
    *h = (struct hart){.ram = ram, .ram_base = base, .ram_bytes = bytes, .clock = clock, .refill = 1024};
    h->pages = MAP_FAILED;
    hide_counters();
    pthread_mutex_lock(&opening);
    bool made = have_memory() && make_engine(h);
    pthread_mutex_unlock(&opening);
    return made;
}

void hart_release(struct hart *h)
{
    if (h->uc)
        uc_close(h->uc);
    if (h->pages != MAP_FAILED)
        munmap(h->pages, state_bytes(h));
}

/*
 * From now on a run ends before it executes an instruction at any of these addresses, also the first one; an
 * enclave's with CAUSE_DEBUG.  Whatever was translated before does not know of them.  On the hart's own thread,
 * between runs.  Returns 0, or a uc_err.
 */
EXPORT int hart_break(struct hart *h, const uint64_t *addresses, uint64_t count)
{
    if (count > BREAKS_MAX)
        return UC_ERR_ARG;
    memcpy(h->breaks, addresses, count * sizeof *addresses);
    h->break_count = count;
    int error = uc_ctl_set_exits(h->uc, h->breaks, count);
    return error ? error : uc_ctl_flush_tb(h->uc);
}
