/*
 * A hart in the world of the host: an operating system in S-mode and its programs in U-mode, on a bus that
 * shows only the host's pages.
 *
 * Here is what a hart does by itself: exceptions go to S-mode as medeleg says (all but the calls of S-mode),
 * interrupts as mideleg says, wfi waits.  Python gets the calls to the firmware and the accesses to devices.
 *
 * Interrupts are Unicorn's own to take, once mip has them: it looks whenever execution begins, and behind
 * every instruction that could open a gate (sret, writes of CSRs).  So it is enough to leave the guest when a
 * bit of mip changes, and to begin again.
 *
 * Unicorn knows translated code by the block of memory that it lies in.  A region that is unmapped takes its
 * code along only if it can be found at its physical address: the bus is changed in M-mode.
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "hart.h"

enum { MIP_SSIP = 1 << 1, MIP_STIP = 1 << 5, MIP_SEIP = 1 << 9 };
#define NEVER UINT64_MAX

/* Why supervisor_run() came back. */
enum { EXIT_REQUEST = 0, EXIT_CALL = 1, EXIT_DEVICE = 2, EXIT_BREAK = 3 };

/* What to do after a trap: continue the guest, check what is due, or ask Python. */
enum next { GO_ON, LOOK, LEAVE };

/* What Python and a supervisor tell each other; penglai.machine.supervisor has the same. */
struct exit {
    uint64_t reason;
    uint64_t a[8];    /* a call's a0..a7; on the way back a0 and a1 */
    uint64_t address; /* a device's: physical */
    uint64_t value;   /* stored; on the way back what was loaded */
    uint64_t bytes;   /* 1, 2, 4, 8; on the way back 0 if there is no such device */
    uint64_t store;
};

struct supervisor {
    struct hart hart;
    uint64_t slab_bytes;
    const uint8_t *protected; /* for each page, whether the hart may only read it */

    _Atomic uint32_t lines;  /* bits of mip that devices hold up */
    _Atomic uint32_t raised; /* bits of mip to set once; the guest clears them */
    _Atomic uint32_t asleep;
    _Atomic uint32_t wanted; /* Python wants the hart back */

    /* The rest is the hart's own thread's alone. */
    uint64_t pc, timer;
    uint32_t shown; /* of STIP and SEIP, what mip has */
    uint64_t owed;  /* the exit that Python has answered */
    struct access access;
    struct trap fault;
    uint64_t insn_bytes;
};

/* ---- traps and interrupts --------------------------------------------------------------------- */

/* Every call of Unicorn costs: what a trap reads and writes goes in one batch each way. */
static void trap_to_s_mode(struct supervisor *s, const struct trap *t)
{
    static const int reads[] = {UC_RISCV_REG_SSTATUS, UC_RISCV_REG_STVEC};
    static const int writes[] = {UC_RISCV_REG_SSTATUS, UC_RISCV_REG_SCAUSE, UC_RISCV_REG_SEPC,
                                 UC_RISCV_REG_STVAL};
    struct hart *h = &s->hart;
    uint64_t status = 0, vector = 0, cause = t->cause, tval = t->tval;
    write_reg(h, UC_RISCV_REG_PRIV, PRIV_S); /* also drops an LR reservation */
    uc_reg_read_batch(h->uc, reads, (void *[]){&status, &vector}, 2);
    uint64_t pie = status & MSTATUS_SIE ? MSTATUS_SPIE : 0, pp = h->priv == PRIV_S ? MSTATUS_SPP : 0;
    status = (status & ~(MSTATUS_SIE | MSTATUS_SPIE | MSTATUS_SPP)) | pie | pp;
    uc_reg_write_batch(h->uc, writes, (void *[]){&status, &cause, &s->pc, &tval}, 4);
    s->pc = vector & ~(uint64_t)3;
}

/* Lets mip say what the timer and the devices say now. */
static void show_interrupts(struct supervisor *s)
{
    struct hart *h = &s->hart;
    uint32_t now = atomic_load(&s->lines) & MIP_SEIP;
    uint32_t raised = atomic_exchange(&s->raised, 0) & MIP_SSIP;
    if (s->timer != NEVER && clock_ns(h->clock) >= s->timer)
        now |= MIP_STIP;
    if (now == s->shown && !raised)
        return;
    uint64_t priv = read_reg(h, UC_RISCV_REG_PRIV);
    /* As for enclaves: Unicorn's TLB grows only when it is flushed.  Not for the kernel, which a flush only delays. */
    if (priv == PRIV_U && now & ~s->shown & MIP_STIP)
        uc_ctl_flush_tlb(h->uc);
    s->shown = now;
    write_reg(h, UC_RISCV_REG_PRIV, PRIV_M);
    uint64_t soft = read_reg(h, UC_RISCV_REG_MIP) & MIP_SSIP;
    write_reg(h, UC_RISCV_REG_MIP, now | raised | soft);
    write_reg(h, UC_RISCV_REG_PRIV, priv);
}

static bool has_work(struct hart *h)
{
    uint64_t priv = read_reg(h, UC_RISCV_REG_PRIV);
    write_reg(h, UC_RISCV_REG_PRIV, PRIV_M);
    bool work = read_reg(h, UC_RISCV_REG_MIP) & read_reg(h, UC_RISCV_REG_MIE);
    write_reg(h, UC_RISCV_REG_PRIV, priv);
    return work;
}

/* wfi: until an interrupt is pending that is enabled, or somebody wants the hart. */
static void wait_for_interrupt(struct supervisor *s)
{
    struct hart *h = &s->hart;
    while (show_interrupts(s), !has_work(h)) {
        uint64_t now = clock_ns(h->clock);
        struct timespec span, *until = NULL;
        if (s->timer != NEVER && !atomic_load(&h->clock->manual) && !(s->shown & MIP_STIP)) {
            uint64_t left = s->timer > now ? s->timer - now : 0;
            span = (struct timespec){.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
            until = &span;
        }
        atomic_store(&s->asleep, 1);
        if (!atomic_load(&h->pending))
            syscall(SYS_futex, &h->pending, FUTEX_WAIT_PRIVATE, 0, until, NULL, 0);
        atomic_store(&s->asleep, 0);
        if (atomic_load(&h->pending))
            return;
    }
}

/* ---- the way to Python and back --------------------------------------------------------------- */

static void ask_firmware(struct supervisor *s, struct exit *x)
{
    x->reason = s->owed = EXIT_CALL;
    for (int i = 0; i < 8; i++)
        x->a[i] = read_reg(&s->hart, UC_RISCV_REG_X10 + i);
}

/* A fault of the bus below RAM is an access to where devices are.  False if it is none that could be. */
static bool ask_device(struct supervisor *s, const struct trap *t, struct exit *x)
{
    struct hart *h = &s->hart;
    const struct access *a = &s->access;
    struct view v = look(h);
    uint64_t pa;
    if (!a->bytes || a->atomic || a->floating || !translate(h, &v, t->tval, a->store ? PTE_W : PTE_R, &pa))
        return false;
    if (pa >= h->ram_base || pa % a->bytes)
        return false;
    s->fault = *t;
    s->insn_bytes = (fetch(h, &v, s->pc) & 3) == 3 ? 4 : 2;
    x->reason = s->owed = EXIT_DEVICE;
    x->address = pa;
    x->bytes = a->bytes;
    x->store = a->store;
    x->value = a->store && a->reg ? read_reg(h, UC_RISCV_REG_X0 + (int)a->reg) : 0;
    if (a->bytes < 8)
        x->value &= ((uint64_t)1 << 8 * a->bytes) - 1;
    return true;
}

static void finish_device(struct supervisor *s, const struct exit *x)
{
    const struct access *a = &s->access;
    if (!x->bytes) {
        trap_to_s_mode(s, &s->fault);
        return;
    }
    if (!a->store && a->reg) {
        int unused = 64 - 8 * (int)a->bytes;
        uint64_t value = x->value << unused;
        value = a->zero_extended ? value >> unused : (uint64_t)((int64_t)value >> unused);
        write_reg(&s->hart, UC_RISCV_REG_X0 + (int)a->reg, value);
    }
    s->pc += s->insn_bytes;
}

/* Does what Python's answer to the last exit means. */
static void finish(struct supervisor *s, const struct exit *x)
{
    if (s->owed == EXIT_CALL) {
        write_reg(&s->hart, UC_RISCV_REG_X10, x->a[0]);
        write_reg(&s->hart, UC_RISCV_REG_X11, x->a[1]);
        s->pc += 4;
    } else if (s->owed == EXIT_DEVICE) {
        finish_device(s, x);
    }
    s->owed = EXIT_REQUEST;
}

/* Handles a trap. */
static enum next dispatch(struct supervisor *s, struct trap *t, struct exit *x)
{
    switch (t->cause) {
    case NO_CAUSE:
        if (is_break(&s->hart, s->pc)) {
            x->reason = EXIT_BREAK;
            return LEAVE;
        }
        wait_for_interrupt(s);
        return LOOK;
    case CAUSE_M_TIMER:
    case CAUSE_M_SOFTWARE:
        return LOOK;
    case CAUSE_ECALL:
        if (s->hart.priv == PRIV_S) {
            ask_firmware(s, x);
            return LEAVE;
        }
        break;
    case CAUSE_LOAD_ACCESS:
    case CAUSE_STORE_ACCESS:
        if (ask_device(s, t, x))
            return LEAVE;
        break;
    }
    trap_to_s_mode(s, t);
    charge(&s->hart);
    return GO_ON;
}

/*
 * Runs from trap to trap.  Between those that stay in the guest nothing is looked at: step() sees whoever
 * wants the hart, and the fuel ends with the time.
 */
static enum next run(struct supervisor *s, struct exit *x, int *error)
{
    struct trap t;
    enum next next;
    do {
        s->access = (struct access){0};
        *error = step(&s->hart, &s->pc, &t, &s->access);
        next = *error ? LEAVE : dispatch(s, &t, x);
    } while (next == GO_ON);
    return next;
}

/* ---- what Python calls ------------------------------------------------------------------------ */

EXPORT void supervisor_close(struct supervisor *s)
{
    if (s)
        hart_release(&s->hart);
    free(s);
}

/*
 * A hart in S-mode at pc, with nothing on its bus yet: supervisor_show().  hidden: one byte for each page of
 * RAM, 0 if the bus shows it; Python changes it.  protected: likewise, 0 if it may be written.  slab_bytes: RAM
 * is mapped in pieces of at most that size.
 */
EXPORT struct supervisor *supervisor_open(void *ram, uint64_t base, uint64_t bytes, struct clock *clock,
                                          const uint8_t *hidden, const uint8_t *protected,
                                          uint64_t slab_bytes, uint64_t pc)
{
    struct supervisor *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    struct hart *h = &s->hart;
    if (!hart_prepare(h, ram, base, bytes, clock)) {
        supervisor_close(s);
        return NULL;
    }
    h->hidden = hidden;
    s->protected = protected;
    s->slab_bytes = slab_bytes;
    s->pc = pc;
    s->timer = NEVER;
    uint64_t delegated = MIP_SSIP | MIP_STIP | MIP_SEIP;
    write_reg(h, UC_RISCV_REG_MIDELEG, delegated); /* without it sie and sip are zero for ever */
    write_reg(h, UC_RISCV_REG_MEDELEG, 0xb1ff);
    write_reg(h, UC_RISCV_REG_MCOUNTEREN, 7);
    write_reg(h, UC_RISCV_REG_PRIV, PRIV_S);
    return s;
}

/* Sets x register n, before the first run. */
EXPORT void supervisor_set_x(struct supervisor *s, uint32_t n, uint64_t value)
{
    write_reg(&s->hart, UC_RISCV_REG_X0 + (int)n, value);
}

/* The timer interrupt becomes pending at this time (clock ns), and is cleared when another time is set. */
EXPORT void supervisor_set_timer(struct supervisor *s, uint64_t ns)
{
    s->timer = ns;
}

/* Tells the hart that something it has to check has changed.  From any thread. */
EXPORT void supervisor_kick(struct supervisor *s)
{
    atomic_store(&s->hart.pending, 1);
    if (atomic_load(&s->asleep))
        syscall(SYS_futex, &s->hart.pending, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

/* A device holds the external interrupt up, or lets it go.  From any thread. */
EXPORT void supervisor_hold(struct supervisor *s, uint32_t on)
{
    uint32_t before = on ? atomic_fetch_or(&s->lines, MIP_SEIP) : atomic_fetch_and(&s->lines, ~MIP_SEIP);
    if (!(before & MIP_SEIP) == !!on)
        supervisor_kick(s);
}

/* A software interrupt.  From any thread. */
EXPORT void supervisor_raise(struct supervisor *s)
{
    atomic_fetch_or(&s->raised, MIP_SSIP);
    supervisor_kick(s);
}

/*
 * The run that is under way, or the next one, comes back with EXIT_REQUEST before it executes anything more.
 * From any thread.
 */
EXPORT void supervisor_request(struct supervisor *s)
{
    atomic_store(&s->wanted, 1);
    supervisor_kick(s);
}

/* The same, and returns when the hart executes nothing.  From any thread but the hart's own. */
EXPORT void supervisor_interrupt(struct supervisor *s)
{
    supervisor_request(s);
    await_exit(&s->hart);
}

/*
 * Runs until there is something for Python, which answers in the same struct.  Returns 0, or the uc_err of an
 * engine that gave up; x->address is then the pc.
 */
EXPORT int supervisor_run(struct supervisor *s, struct exit *x)
{
    struct hart *h = &s->hart;
    int error = 0;
    enter_guest(h);
    finish(s, x);
    x->reason = EXIT_REQUEST;
    for (;;) {
        atomic_store(&h->pending, 0);
        if (atomic_exchange(&s->wanted, 0))
            break;
        show_interrupts(s);
        if (arm(h, s->shown & MIP_STIP ? NEVER : s->timer, 0) && run(s, x, &error) == LEAVE)
            break;
    }
    if (error)
        x->address = s->pc;
    leave_guest(h);
    return error;
}

/* ---- for debuggers, between runs ------------------------------------------------------------- */

/* Does what Python's answer to the last exit means: then the registers are those before the next instruction. */
EXPORT void supervisor_settle(struct supervisor *s, const struct exit *x)
{
    finish(s, x);
}

/* The registers but for satp, which is left as it is. */
EXPORT void supervisor_save(struct supervisor *s, struct context *c)
{
    save_context(&s->hart, c);
    c->pc = s->pc;
    c->priv = read_reg(&s->hart, UC_RISCV_REG_PRIV);
}

/* Changes x, f, fcsr and pc. */
EXPORT void supervisor_load(struct supervisor *s, const struct context *c)
{
    set_registers(&s->hart, c);
    s->pc = c->pc;
}

/* Runs end with EXIT_BREAK before they execute an instruction at any of these addresses, as hart_break() says. */
EXPORT int supervisor_break(struct supervisor *s, const uint64_t *addresses, uint64_t count)
{
    return hart_break(&s->hart, addresses, count);
}

/* The physical address at which S-mode, which may look at pages of U-mode, finds va; false if at none. */
EXPORT bool supervisor_translate(struct supervisor *s, uint64_t va, uint64_t *pa)
{
    s->hart.priv = read_reg(&s->hart, UC_RISCV_REG_PRIV);
    struct view v = look(&s->hart);
    v.supervisor = v.sum = v.mxr = true;
    return translate(&s->hart, &v, va, PTE_R, pa);
}

/* Where an sret leads. */
EXPORT uint64_t supervisor_return(struct supervisor *s)
{
    return read_reg(&s->hart, UC_RISCV_REG_SEPC);
}

/* ---- the bus --------------------------------------------------------------------------------- */

static int map_slab(struct supervisor *s, uint64_t first, uint64_t count)
{
    struct hart *h = &s->hart;
    int error = 0;
    for (uint64_t page = first, end = first + count; page < end && !error;) {
        uint64_t run = page;
        while (run < end && !h->hidden[run] && s->protected[run] == s->protected[page])
            run++;
        if (run > page)
            error = uc_mem_map_ptr(h->uc, h->ram_base + page * PAGE_BYTES, (run - page) * PAGE_BYTES,
                                   s->protected[page] ? UC_PROT_READ | UC_PROT_EXEC : UC_PROT_ALL,
                                   h->ram + page * PAGE_BYTES);
        page = run;
        while (page < end && h->hidden[page])
            page++;
    }
    return error;
}

/* Unmaps whatever of [start, start + bytes) is mapped. */
static int unmap_slab(struct hart *h, uint64_t start, uint64_t bytes)
{
    uc_mem_region *regions;
    uint32_t count;
    int error = uc_mem_regions(h->uc, &regions, &count);
    if (error)
        return error;
    for (uint32_t i = 0; i < count && !error; i++)
        if (regions[i].begin >= start && regions[i].begin < start + bytes)
            error = uc_mem_unmap(h->uc, regions[i].begin, regions[i].end + 1 - regions[i].begin);
    uc_free(regions);
    return error;
}

/*
 * Lets the bus show of the pages [first, last] what `hidden` says, and nothing of what was translated from
 * them before.  On the hart's own thread, between runs.  Returns a uc_err; 0 if all is well.
 */
EXPORT int supervisor_show(struct supervisor *s, uint64_t first, uint64_t last)
{
    struct hart *h = &s->hart;
    uint64_t slab_pages = s->slab_bytes / PAGE_BYTES, all = h->ram_bytes / PAGE_BYTES;
    uint64_t priv = read_reg(h, UC_RISCV_REG_PRIV);
    int error = 0;
    write_reg(h, UC_RISCV_REG_PRIV, PRIV_M);
    for (uint64_t slab = first / slab_pages; slab <= last / slab_pages && !error; slab++) {
        uint64_t begin = slab * slab_pages;
        uint64_t count = all - begin < slab_pages ? all - begin : slab_pages;
        error = unmap_slab(h, h->ram_base + begin * PAGE_BYTES, count * PAGE_BYTES);
        if (!error)
            error = map_slab(s, begin, count);
    }
    uc_ctl_flush_tlb(h->uc);
    write_reg(h, UC_RISCV_REG_PRIV, priv);
    return error;
}

EXPORT void supervisor_flush(struct supervisor *s)
{
    uc_ctl_flush_tlb(s->hart.uc);
}

/* A device has written to a page: what was translated from it is forgotten.  As supervisor_show(). */
EXPORT void supervisor_written(struct supervisor *s, uint64_t address)
{
    struct hart *h = &s->hart;
    uint64_t priv = read_reg(h, UC_RISCV_REG_PRIV);
    write_reg(h, UC_RISCV_REG_PRIV, PRIV_M);
    uc_ctl_remove_cache(h->uc, address & ~PAGE_MASK, (address & ~PAGE_MASK) + PAGE_BYTES);
    write_reg(h, UC_RISCV_REG_PRIV, priv);
}
