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
 *     `pending`; the block hook, on the hart's own thread, sees it and stops before the first
 *     instruction of the block.
 *   - The pc in an exception hook is the faulting pc + 4, whatever the instruction's length.
 *   - The faulting address is not exposed: it is decoded from the instruction and the registers.
 *   - An instruction fetch that fails in the middle of a block is reported at the block's start, with
 *     nothing of the block executed: see settle_fetch_fault().
 *   - CSRs are read and written under the current privilege: satp is set in M-mode.
 *   - A new satp flushes nothing: the next program at the same address would run the last one's code.
 *   - Translations survive a change of the memory below them: hart_invalidate().
 *
 * Built by penglai.machine.engine with the headers of the installed unicorn package.
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <unicorn/unicorn.h>

#define NS_PER_TICK 100 /* the time CSR counts at 10 MHz */
#define PAGE_BYTES 4096
#define PAGE_MASK ((uint64_t)PAGE_BYTES - 1)

enum { PRIV_U = 0, PRIV_M = 3 };
enum { PTE_V = 1, PTE_R = 2, PTE_W = 4, PTE_X = 8, PTE_U = 16 };

/* mcause, RISC-V privileged specification, table of causes. */
enum {
    CAUSE_FETCH_ACCESS = 1,
    CAUSE_ILLEGAL = 2,
    CAUSE_BREAKPOINT = 3,
    CAUSE_LOAD_MISALIGNED = 4,
    CAUSE_LOAD_ACCESS = 5,
    CAUSE_STORE_MISALIGNED = 6,
    CAUSE_STORE_ACCESS = 7,
    CAUSE_FETCH_PAGE = 12,
    CAUSE_LOAD_PAGE = 13,
    CAUSE_STORE_PAGE = 15,
};
#define CAUSE_INTERRUPT ((uint64_t)1 << 63)
#define CAUSE_M_SOFTWARE (CAUSE_INTERRUPT | 3)
#define CAUSE_M_TIMER (CAUSE_INTERRUPT | 7)
#define NO_CAUSE UINT64_MAX

/* The clock is read this often, in ns of guest execution: often enough for a tick, too seldom to cost. */
#define CLOCK_READ_MIN_NS 20000
#define CLOCK_READ_MAX_NS 100000
#define FUEL_MIN 64
#define FUEL_MAX (1 << 20)
#define SPINS 2000
#define DEAD_PAGES_MAX 256

struct context {
    uint64_t x[32], f[32], fcsr, pc, priv, satp;
};

struct trap {
    uint64_t cause, epc, tval;
};

struct clock {
    uint64_t origin;         /* CLOCK_MONOTONIC ns that count as 0 */
    _Atomic uint64_t manual; /* 0: follow CLOCK_MONOTONIC; else ns + 1, set by hand */
};

struct hart {
    uc_engine *uc;
    const uint8_t *ram;
    uint64_t ram_base, ram_bytes;
    struct clock *clock;

    _Atomic uint32_t pending;  /* somebody wants the hart out of the guest */
    _Atomic uint32_t in_guest; /* also the futex word that hart_interrupt() sleeps on */
    _Atomic uint32_t sleepers;
    _Atomic uint32_t tlb_stale;

    /* The rest is the hart's own thread's alone. */
    uint64_t satp, deadline, last_read;
    int64_t fuel, refill;
    bool counting; /* the deadline is a number of blocks, not a time */
    uint64_t interrupt, exception, hook_pc;
    uint64_t dead_pages; /* whose translations were removed, but still fill the engine's buffer */
};

uint64_t clock_ns(struct clock *clock)
{
    uint64_t manual = atomic_load(&clock->manual);
    if (manual)
        return manual - 1;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec - clock->origin;
}

/* ---- memory as the guest sees it -------------------------------------------------------------- */

static const uint8_t *ram_at(const struct hart *h, uint64_t pa, uint64_t bytes)
{
    uint64_t offset = pa - h->ram_base;
    if (pa < h->ram_base || offset >= h->ram_bytes || h->ram_bytes - offset < bytes)
        return NULL;
    return h->ram + offset;
}

/* The leaf PTE that maps va in Sv39, with its address bits replaced by those of va's page; 0 if none. */
static uint64_t walk(const struct hart *h, uint64_t satp, uint64_t va, uint64_t *page)
{
    if (satp >> 60 == 0) {
        *page = va & ~PAGE_MASK;
        return PTE_V | PTE_R | PTE_W | PTE_X | PTE_U;
    }
    if ((int64_t)(va << 25) >> 25 != (int64_t)va)
        return 0;
    uint64_t table = (satp & (((uint64_t)1 << 44) - 1)) << 12;
    for (int shift = 30; shift >= 12; shift -= 9) {
        const uint8_t *slot = ram_at(h, table + ((va >> shift) & 511) * 8, 8);
        if (!slot)
            return 0;
        uint64_t pte;
        memcpy(&pte, slot, 8);
        if (!(pte & PTE_V))
            return 0;
        table = (pte >> 10 & (((uint64_t)1 << 44) - 1)) << 12;
        if (pte & (PTE_R | PTE_W | PTE_X)) {
            uint64_t offset = ((uint64_t)1 << shift) - 1;
            *page = (table & ~offset) | (va & offset & ~PAGE_MASK);
            return pte;
        }
    }
    return 0;
}

static bool may(const struct hart *h, uint64_t satp, uint64_t va, uint64_t access)
{
    uint64_t page, pte = walk(h, satp, va, &page);
    return (pte & access) == access;
}

static bool fetch16(const struct hart *h, uint64_t satp, uint64_t va, uint16_t *out)
{
    uint64_t page, pte = walk(h, satp, va, &page);
    const uint8_t *at = pte & PTE_X ? ram_at(h, page | (va & PAGE_MASK), 2) : NULL;
    if (at)
        memcpy(out, at, 2);
    return at != NULL;
}

/* The instruction at va, zero-extended; 0 (an illegal instruction) if it cannot be fetched. */
static uint32_t fetch(const struct hart *h, uint64_t satp, uint64_t va)
{
    uint16_t low, high;
    if (!fetch16(h, satp, va, &low))
        return 0;
    if ((low & 3) != 3)
        return low;
    if (!fetch16(h, satp, va + 2, &high))
        return 0;
    return low | (uint32_t)high << 16;
}

/* ---- the faulting access ---------------------------------------------------------------------- */

struct access {
    unsigned base;
    int64_t offset;
    unsigned bytes;
    bool atomic, reserve;
};

static uint32_t bits(uint32_t value, int high, int low)
{
    return value >> low & ((2u << (high - low)) - 1);
}

static int64_t sign_extend(uint32_t value, int width)
{
    return (int64_t)((uint64_t)value << (64 - width)) >> (64 - width);
}

static bool decode32(uint32_t insn, struct access *a)
{
    a->base = bits(insn, 19, 15);
    a->bytes = 1u << bits(insn, 13, 12);
    switch (insn & 0x7f) {
    case 0x03: /* LOAD */
    case 0x07: /* LOAD-FP */
        a->offset = sign_extend(bits(insn, 31, 20), 12);
        return true;
    case 0x23: /* STORE */
    case 0x27: /* STORE-FP */
        a->offset = sign_extend(bits(insn, 31, 25) << 5 | bits(insn, 11, 7), 12);
        return true;
    case 0x2f: /* AMO */
        a->atomic = true;
        a->reserve = bits(insn, 31, 27) == 2;
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
    if ((insn & 3) == 0 && kind != 0 && kind != 4) {
        a->base = 8 + bits(insn, 9, 7);
        a->offset = bits(insn, 12, 10) << 3;
        a->offset |= word ? bits(insn, 6, 6) << 2 | bits(insn, 5, 5) << 6 : bits(insn, 6, 5) << 6;
        return true;
    }
    if ((insn & 3) != 2)
        return false;
    a->base = 2;
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

/* Fills in tval of a data fault, and the cause where Unicorn calls an atomic a load. */
static void describe_data_fault(const struct hart *h, const struct context *c, uint32_t insn,
                                struct trap *t)
{
    struct access a = {0};
    if (!((insn & 3) == 3 ? decode32(insn, &a) : decode16(insn, &a)))
        return;
    bool load = t->cause == CAUSE_LOAD_MISALIGNED || t->cause == CAUSE_LOAD_ACCESS ||
                t->cause == CAUSE_LOAD_PAGE;
    if (a.atomic && !a.reserve && load) {
        t->cause += 2;
        load = false;
    }
    uint64_t address = (a.base ? c->x[a.base] : 0) + (uint64_t)a.offset;
    uint64_t last = address + a.bytes - 1;
    bool crosses = (address ^ last) & ~PAGE_MASK;
    bool page_fault = t->cause == CAUSE_LOAD_PAGE || t->cause == CAUSE_STORE_PAGE;
    uint64_t need = PTE_U | (load ? PTE_R : PTE_W);
    if (crosses && page_fault && may(h, c->satp, address, need))
        address = last & ~PAGE_MASK; /* the portion of the access that faulted */
    t->tval = address;
}

/* ---- Unicorn ---------------------------------------------------------------------------------- */

static void on_exception(uc_engine *uc, uint32_t code, void *user)
{
    struct hart *h = user;
    h->exception = code;
    uc_reg_read(uc, UC_RISCV_REG_PC, &h->hook_pc);
    uc_emu_stop(uc);
}

static void leave(struct hart *h, uint64_t cause)
{
    h->interrupt = cause;
    uc_emu_stop(h->uc);
}

static void out_of_fuel(struct hart *h)
{
    if (h->counting) {
        leave(h, CAUSE_M_TIMER);
        return;
    }
    uint64_t now = clock_ns(h->clock), took = now - h->last_read;
    h->last_read = now;
    if (now >= h->deadline) {
        leave(h, CAUSE_M_TIMER);
        return;
    }
    if (took < CLOCK_READ_MIN_NS && h->refill < FUEL_MAX)
        h->refill *= 2;
    else if (took > CLOCK_READ_MAX_NS && h->refill > FUEL_MIN)
        h->refill /= 2;
    h->fuel = h->refill;
}

static void on_block(uc_engine *uc, uint64_t address, uint32_t bytes, void *user)
{
    (void)uc, (void)address, (void)bytes;
    struct hart *h = user;
    if (__builtin_expect(atomic_load_explicit(&h->pending, memory_order_relaxed) != 0, 0))
        leave(h, CAUSE_M_SOFTWARE);
    else if (__builtin_expect(--h->fuel < 0, 0))
        out_of_fuel(h);
}

static void write_reg(struct hart *h, int id, uint64_t value)
{
    uc_reg_write(h->uc, id, &value);
}

static uint64_t read_reg(struct hart *h, int id)
{
    uint64_t value = 0;
    uc_reg_read(h->uc, id, &value);
    return value;
}

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

static void load(struct hart *h, struct context *c)
{
    /* Writing the privilege also drops an LR reservation that another context left. */
    write_reg(h, UC_RISCV_REG_PRIV, PRIV_M);
    bool stale = atomic_exchange(&h->tlb_stale, 0);
    if (stale || c->satp != h->satp) {
        h->satp = c->satp;
        write_reg(h, UC_RISCV_REG_SATP, c->satp);
        uc_ctl_flush_tlb(h->uc);
    }
    write_reg(h, UC_RISCV_REG_PRIV, c->priv);
    void *values[REGS];
    point_at(c, values);
    uc_reg_write_batch(h->uc, reg_ids, values, REGS);
}

static void save(struct hart *h, struct context *c)
{
    void *values[REGS];
    point_at(c, values);
    uc_reg_read_batch(h->uc, reg_ids, values, REGS);
    c->x[0] = 0;
}

/* One uc_emu_start() from c->pc.  Leaves h->interrupt or a cause in t; returns a uc_err. */
static int emulate(struct hart *h, struct context *c, struct trap *t)
{
    h->interrupt = h->exception = NO_CAUSE;
    int error = uc_emu_start(h->uc, c->pc, 0, 0, 0);
    c->pc = read_reg(h, UC_RISCV_REG_PC);
    *t = (struct trap){.cause = NO_CAUSE};
    if (h->exception != NO_CAUSE) {
        t->cause = h->exception;
        c->pc = h->hook_pc - 4;
        return 0;
    }
    switch (error) {
    case UC_ERR_OK:
        t->cause = h->interrupt;
        return 0;
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
 * nothing, it is the other case: Unicorn reports an illegal 16-bit instruction at the start of a page so.
 */
static int settle_fetch_fault(struct hart *h, struct context *c, struct trap *t)
{
    uint64_t previous = ~c->pc, last;
    uint16_t low, high;
    int error = 0;
    while (!error && t->cause == CAUSE_FETCH_PAGE) {
        t->tval = c->pc;
        if (!fetch16(h, c->satp, c->pc, &low))
            return 0;
        if ((low & 3) == 3 && !fetch16(h, c->satp, c->pc + 2, &high)) {
            t->tval = c->pc + 2;
            return 0;
        }
        if (c->pc == previous) {
            t->cause = CAUSE_ILLEGAL;
            return 0;
        }
        previous = c->pc;
        last = (c->pc | PAGE_MASK) - 1;
        uc_ctl_set_exits(h->uc, &last, 1);
        error = emulate(h, c, t);
        uc_ctl_set_exits(h->uc, &last, 0);
    }
    return error;
}

static bool is_data_fault(uint64_t cause)
{
    return cause == CAUSE_LOAD_MISALIGNED || cause == CAUSE_LOAD_ACCESS || cause == CAUSE_STORE_MISALIGNED ||
           cause == CAUSE_STORE_ACCESS || cause == CAUSE_LOAD_PAGE || cause == CAUSE_STORE_PAGE;
}

/* rdtime is not in Unicorn's CPU: executes it here.  False if insn is something else. */
static bool execute_rdtime(struct hart *h, struct context *c, uint32_t insn)
{
    if ((insn & 0xfffff07f) != 0xc0102073) /* csrrs rd, time, x0 */
        return false;
    unsigned rd = bits(insn, 11, 7);
    if (rd)
        write_reg(h, UC_RISCV_REG_X0 + (int)rd, clock_ns(h->clock) / NS_PER_TICK);
    c->pc += 4;
    return true;
}

/* Runs c, already loaded, until something is to be told; returns a uc_err that is nobody's trap. */
static int run(struct hart *h, struct context *c, struct trap *t)
{
    for (;;) {
        if (atomic_load(&h->pending)) {
            *t = (struct trap){.cause = CAUSE_M_SOFTWARE};
            return 0;
        }
        int error = emulate(h, c, t);
        if (!error && t->cause == CAUSE_FETCH_PAGE)
            error = settle_fetch_fault(h, c, t);
        if (error)
            return error;
        if (t->cause == NO_CAUSE)
            continue;
        if (t->cause != CAUSE_ILLEGAL)
            return 0;
        uint32_t insn = fetch(h, c->satp, c->pc);
        if (execute_rdtime(h, c, insn))
            continue;
        if (insn == 0x00100073 || insn == 0x9002) { /* ebreak, c.ebreak */
            t->cause = CAUSE_BREAKPOINT;
            t->tval = c->pc;
        } else {
            t->tval = insn;
        }
        return 0;
    }
}

/* ---- what Python calls ------------------------------------------------------------------------ */

void hart_close(struct hart *h)
{
    if (h && h->uc)
        uc_close(h->uc);
    free(h);
}

struct hart *hart_open(void *ram, uint64_t base, uint64_t bytes, struct clock *clock)
{
    struct hart *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    *h = (struct hart){.ram = ram, .ram_base = base, .ram_bytes = bytes, .clock = clock, .refill = 1024};
    uc_hook exception_hook, block_hook;
    if (uc_open(UC_ARCH_RISCV, UC_MODE_RISCV64, &h->uc) ||
        uc_mem_map_ptr(h->uc, base, bytes, UC_PROT_ALL, ram) ||
        uc_ctl_exits_enable(h->uc) || /* no address ends emulation by itself */
        uc_hook_add(h->uc, &exception_hook, UC_HOOK_INTR, on_exception, h, 1, 0) ||
        uc_hook_add(h->uc, &block_hook, UC_HOOK_BLOCK, on_block, h, 1, 0)) {
        hart_close(h);
        return NULL;
    }
    write_reg(h, UC_RISCV_REG_MSTATUS, 0x6000); /* FS = dirty: the floating-point unit is on */
    return h;
}

/*
 * Runs a context until a trap, until `deadline` (clock ns), after `blocks` basic blocks if not 0, or
 * until hart_interrupt().  Returns 0, or the uc_err of an engine that gave up.
 */
int hart_run(struct hart *h, struct context *c, uint64_t deadline, uint64_t blocks, struct trap *t)
{
    atomic_store(&h->in_guest, 1);
    load(h, c);
    h->deadline = deadline;
    h->counting = blocks != 0;
    int error = 0;
    if (h->counting) {
        h->fuel = (int64_t)blocks;
    } else {
        h->last_read = clock_ns(h->clock);
        h->fuel = h->refill;
    }
    if (!h->counting && h->last_read >= deadline)
        *t = (struct trap){.cause = CAUSE_M_TIMER};
    else
        error = run(h, c, t);
    save(h, c);
    t->epc = c->pc;
    if (is_data_fault(t->cause))
        describe_data_fault(h, c, fetch(h, c->satp, c->pc), t);
    else if (t->cause == CAUSE_FETCH_ACCESS)
        t->tval = c->pc;
    atomic_store(&h->in_guest, 0);
    if (atomic_load(&h->sleepers))
        syscall(SYS_futex, &h->in_guest, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
    return error;
}

/*
 * Returns when the hart executes no guest instruction, with its context saved; it will execute none
 * until hart_acknowledge().  From any thread.
 */
void hart_interrupt(struct hart *h)
{
    atomic_store(&h->pending, 1);
    for (int i = 0; i < SPINS; i++) {
        if (!atomic_load(&h->in_guest))
            return;
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }
    atomic_fetch_add(&h->sleepers, 1);
    while (atomic_load(&h->in_guest))
        syscall(SYS_futex, &h->in_guest, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
    atomic_fetch_sub(&h->sleepers, 1);
}

void hart_acknowledge(struct hart *h)
{
    atomic_store(&h->pending, 0);
}

/* Page tables changed: the next run starts with an empty TLB.  From any thread. */
void hart_flush_tlb(struct hart *h)
{
    atomic_store(&h->tlb_stale, 1);
}

/*
 * Forgets what was translated from [start, end), physical.  On the hart's own thread, between runs.
 * Unicorn's buffer gets room again only when all of it is flushed: so now and then all of it is.
 */
int hart_invalidate(struct hart *h, uint64_t start, uint64_t end)
{
    h->dead_pages += (end - start) / PAGE_BYTES;
    if (h->dead_pages >= DEAD_PAGES_MAX) {
        h->dead_pages = 0;
        return uc_ctl_flush_tb(h->uc);
    }
    write_reg(h, UC_RISCV_REG_PRIV, PRIV_M); /* without translation: addresses are physical */
    return uc_ctl_remove_cache(h->uc, start, end);
}
