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
#include <time.h>
#include "hart.h"

/*
 * How often the clock is read, in ns of guest execution: often enough for a tick, rarely enough to be cheap.
 */
#define CLOCK_READ_MIN_NS 20000
#define CLOCK_READ_MAX_NS 100000
#define FUEL_MIN 64
#define FUEL_MAX (1 << 20)
#define TRAPS_TO_REFILL 64 /* must not exceed FUEL_MIN */
#define DEAD_PAGES_MAX 256

uint64_t clock_ns(struct clock *clock)
{
    uint64_t manual = atomic_load(&clock->manual);
    if (manual)
        return manual - 1;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec - clock->origin;
}

bool read_counter(struct hart *h, unsigned csr, uint64_t *value)
{
    if (csr != CSR_TIME && csr != CSR_CYCLE)
        return false;
    *value = clock_ns(h->clock) / NS_PER_TICK;
    return true;
}

void write_reg(struct hart *h, int id, uint64_t value)
{
    uc_reg_write(h->uc, id, &value);
}

uint64_t read_reg(struct hart *h, int id)
{
    uint64_t value = 0;
    uc_reg_read(h->uc, id, &value);
    return value;
}

struct view look(struct hart *h)
{
    static const int ids[] = {UC_RISCV_REG_SSTATUS, UC_RISCV_REG_SATP};
    uint64_t status = 0, satp = 0;
    if (h->priv == PRIV_U)
        write_reg(h, UC_RISCV_REG_PRIV, PRIV_S);
    uc_reg_read_batch(h->uc, ids, (void *[]){&status, &satp}, 2);
    if (h->priv == PRIV_U)
        write_reg(h, UC_RISCV_REG_PRIV, PRIV_U);
    return (struct view){
        .satp = satp,
        .supervisor = h->priv != PRIV_U,
        .sum = status & MSTATUS_SUM,
        .mxr = status & MSTATUS_MXR,
    };
}

/* ---- hooks ------------------------------------------------------------------------------------ */

static void on_exception(uc_engine *uc, uint32_t code, void *user)
{
    struct hart *h = user;
    static const int ids[] = {UC_RISCV_REG_PC, UC_RISCV_REG_PRIV};
    h->exception = code;
    uc_reg_read_batch(uc, ids, (void *[]){&h->hook_pc, &h->priv}, 2);
    uc_emu_stop(uc);
}

static void leave(struct hart *h, uint64_t cause)
{
    h->interrupt = cause;
    uc_emu_stop(h->uc);
}

bool time_is_up(struct hart *h)
{
    uint64_t now = clock_ns(h->clock), took = now - h->last_read;
    h->last_read = now;
    if (now >= h->deadline)
        return true;
    if (took < CLOCK_READ_MIN_NS && h->refill < FUEL_MAX)
        h->refill *= 2;
    else if (took > CLOCK_READ_MAX_NS && h->refill > FUEL_MIN)
        h->refill /= 2;
    h->fuel = h->refill;
    return false;
}

void stop_or_refuel(struct hart *h)
{
    if (atomic_load_explicit(&h->pending, memory_order_relaxed) != 0)
        leave(h, CAUSE_M_SOFTWARE);
    else if (h->counting || time_is_up(h))
        leave(h, CAUSE_M_TIMER);
}

static void on_block(uc_engine *uc, uint64_t address, uint32_t bytes, void *user)
{
    (void)uc, (void)address, (void)bytes;
    begin_block(user);
}

/* ---- execution -------------------------------------------------------------------------------- */

bool arm(struct hart *h, uint64_t deadline, uint64_t blocks)
{
    h->deadline = deadline;
    h->counting = blocks != 0;
    if (h->counting) {
        h->fuel = (int64_t)blocks;
        return true;
    }
    h->last_read = clock_ns(h->clock);
    h->fuel = h->refill;
    return h->last_read < deadline;
}

void charge(struct hart *h)
{
    if (!h->counting)
        h->fuel -= h->refill / TRAPS_TO_REFILL;
}

/* True if a debugger wants the hart to stop before the instruction at pc. */
static bool is_break(const struct hart *h, uint64_t pc)
{
    for (uint64_t i = 0; i < h->break_count; i++)
        if (h->breaks[i] == pc)
            return true;
    return false;
}

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

/* ---- contexts --------------------------------------------------------------------------------- */

#define REGS 64 /* x1..x31, f0..f31, fcsr */
static int reg_ids[REGS];

__attribute__((constructor)) static void list_registers(void)
{
    for (int i = 1; i < 32; i++)
        reg_ids[i - 1] = UC_RISCV_REG_X0 + i;
    for (int i = 0; i < 32; i++)
        reg_ids[31 + i] = UC_RISCV_REG_F0 + i;
    reg_ids[63] = UC_RISCV_REG_FCSR;
}

static void point_at(struct context *c, void *values[REGS])
{
    for (int i = 1; i < 32; i++)
        values[i - 1] = &c->x[i];
    for (int i = 0; i < 32; i++)
        values[31 + i] = &c->f[i];
    values[63] = &c->fcsr;
}

void load_context(struct hart *h, struct context *c)
{
    /* Writing the privilege also drops an LR reservation that another context left. */
    write_reg(h, UC_RISCV_REG_PRIV, PRIV_M);
    if (h->tlb_stale || c->satp != h->satp) {
        h->tlb_stale = false;
        h->satp = c->satp;
        write_reg(h, UC_RISCV_REG_SATP, c->satp);
        uc_ctl_flush_tlb(h->uc);
    }
    write_reg(h, UC_RISCV_REG_PRIV, c->priv);
    void *values[REGS];
    point_at(c, values);
    uc_reg_write_batch(h->uc, reg_ids, values, REGS);
}

void save_context(struct hart *h, struct context *c)
{
    void *values[REGS];
    point_at(c, values);
    uc_reg_read_batch(h->uc, reg_ids, values, REGS);
    c->x[0] = 0;
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

/*
 * From now on a run ends with CAUSE_DEBUG before it executes an instruction at any of these addresses, also the
 * first one.  Whatever was translated before does not know of them.  On the hart's own thread, between runs.
 * Returns 0, or a uc_err.
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
