/*
 * What the files of a hart's inner loop share.  run.c runs contexts of enclaves, supervisor.c an operating
 * system in S-mode; access.c tells what an instruction that trapped was about to do.
 */
#ifndef PENGLAI_HART_H
#define PENGLAI_HART_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <unicorn/unicorn.h>

/*
 * Marks what Python calls.  Everything else is hidden, so that no name clashes with another library in the
 * process.
 */
#define EXPORT __attribute__((visibility("default")))

#define NS_PER_TICK 100 /* the time CSR counts at 10 MHz */
enum { CSR_CYCLE = 0xc00, CSR_TIME = 0xc01, CSR_INSTRET = 0xc02 };
#define PAGE_BYTES 4096
#define PAGE_MASK ((uint64_t)PAGE_BYTES - 1)

enum { PRIV_U = 0, PRIV_S = 1, PRIV_M = 3 };
enum { PTE_V = 1, PTE_R = 2, PTE_W = 4, PTE_X = 8, PTE_U = 16, PTE_A = 64, PTE_D = 128 };

/* mstatus; the low bits are those of sstatus. */
#define MSTATUS_SIE ((uint64_t)1 << 1)
#define MSTATUS_SPIE ((uint64_t)1 << 5)
#define MSTATUS_SPP ((uint64_t)1 << 8)
#define MSTATUS_FS_DIRTY ((uint64_t)3 << 13)
#define MSTATUS_SUM ((uint64_t)1 << 18)
#define MSTATUS_MXR ((uint64_t)1 << 19)

/* mcause, RISC-V privileged specification, table of causes. */
enum {
    CAUSE_FETCH_ACCESS = 1,
    CAUSE_ILLEGAL = 2,
    CAUSE_BREAKPOINT = 3,
    CAUSE_LOAD_MISALIGNED = 4,
    CAUSE_LOAD_ACCESS = 5,
    CAUSE_STORE_MISALIGNED = 6,
    CAUSE_STORE_ACCESS = 7,
    CAUSE_ECALL = 8, /* of U-mode; Unicorn gives it for every mode */
    CAUSE_FETCH_PAGE = 12,
    CAUSE_LOAD_PAGE = 13,
    CAUSE_STORE_PAGE = 15,
};
#define CAUSE_INTERRUPT ((uint64_t)1 << 63)
#define CAUSE_DEBUG (CAUSE_INTERRUPT | 24) /* one of those left to platforms: an address of hart_break() */
#define BREAKS_MAX 1024
#define CAUSE_M_SOFTWARE (CAUSE_INTERRUPT | 3)
#define CAUSE_M_TIMER (CAUSE_INTERRUPT | 7)
#define NO_CAUSE UINT64_MAX
#define NOWHERE UINT64_MAX /* an address that no instruction has: it is odd */

struct context {
    uint64_t x[32], f[32], fcsr, pc, priv, satp;
    _Atomic uint64_t owner; /* the hart that may load and save it, as in struct run; 0: none */
};

struct trap {
    uint64_t cause, epc, tval;
};

/* What Python and a hart of enclaves tell each other; penglai.machine.context has the same. */
struct run {
    uint64_t deadline; /* clock ns */
    uint64_t blocks;   /* if not 0: the next run ends after this many basic blocks instead */
    _Atomic uint64_t stale; /* page tables changed: this run starts with an empty TLB */
    uint64_t owner;         /* the value of `owner` in this hart's own contexts; not 0 */
    struct trap trap;
    uint64_t without_floats; /* not 0 from the beginning: floating-point instructions are illegal */
};

struct clock {
    uint64_t origin;         /* CLOCK_MONOTONIC ns that count as 0 */
    _Atomic uint64_t manual; /* 0: follow CLOCK_MONOTONIC; else ns + 1, set by hand */
};

/* How a hart reaches memory: the translation, and the rights that the privilege level has. */
struct view {
    uint64_t satp;
    bool supervisor; /* S-mode: pages of U-mode are reached with `sum` only, and never fetched from */
    bool sum, mxr;
};

struct hart {
    uc_engine *uc;
    uint8_t *ram;
    uint64_t ram_base, ram_bytes;
    const uint8_t *hidden; /* for each page, whether the bus hides it; NULL: it shows all of them */
    struct clock *clock;
    struct run *run; /* NULL: a supervisor's */

    _Atomic uint32_t pending;  /* somebody wants the hart out of the guest; a futex word */
    _Atomic uint32_t in_guest; /* also the futex word that await_exit() sleeps on */
    _Atomic uint32_t sleepers;
    _Atomic pid_t thread;  /* the thread that executes, or that did so last */
    _Atomic uint32_t lent; /* it has been moved to the core of a thread that waits for it */

    /* The rest is the hart's own thread's alone. */
    uint64_t satp, deadline, last_read;
    int64_t fuel, refill;
    bool counting; /* the deadline is a number of blocks, not a time */
    uint64_t interrupt, exception, hook_pc;
    uint64_t priv; /* of the code that trapped last */
    bool tlb_stale; /* this engine's TLB has to be emptied before it is used */
    struct native *native; /* NULL: all code runs on Unicorn */
    uint64_t breaks[BREAKS_MAX + 1]; /* where a debugger stops it; one more for settle_fetch_fault() */
    uint64_t break_count;
    uint64_t dead_pages; /* whose translations were removed, but still fill the engine's buffer */

    /* For shortcuts.c. */
    bool shortcuts;     /* whether there are any */
    void *cpu;          /* the engine's */
    void *leaving;      /* the same, once the store under way has failed */
    uint16_t *stored;   /* the state of the page that the store under way is to, if that is watched */
    uint64_t stored_at; /* and where it is */
    uint16_t *pages;    /* the state of each page of what is mapped */
    uint64_t half_at;   /* where the first half of an instruction was read that has another one; or odd */
};

/* ---- access.c ---- */

/* The access that an instruction makes: at x[base] + offset, from or to register `reg`. */
struct access {
    unsigned base, bytes, reg;
    int64_t offset;
    bool store, atomic, reserve, floating, zero_extended;
};

/*
 * Copies RAM as the hart's bus shows it.  False, and nothing is copied, if any byte is hidden or outside RAM.
 */
bool bus_read(const struct hart *h, uint64_t pa, void *out, uint64_t bytes);

/* The physical address of va; false if the view does not translate it for all of these rights. */
bool translate(const struct hart *h, const struct view *v, uint64_t va, uint64_t rights, uint64_t *pa);

/*
 * The halfword, or the instruction, at va, zero-extended; false, or 0 (an illegal instruction), if there is
 * none.
 */
bool fetch16(const struct hart *h, const struct view *v, uint64_t va, uint16_t *out);
uint32_t fetch(const struct hart *h, const struct view *v, uint64_t va);

bool decode_access(uint32_t insn, struct access *a);
uint32_t bits(uint32_t value, int high, int low);

/* Like decode_access(), for Zcb only. */
bool decode_zcb_access(uint32_t insn, struct access *a);

/*
 * True for the 16-bit encodings that Unicorn executes as a nop: those of Zcb, and reserved ones next to them.
 */
bool is_unknown16(uint32_t insn);

/* ---- fuel.c ---- */

uint64_t clock_ns(struct clock *clock);

/*
 * What a program reads from a counter.  Cycles are those of the machine's clock, as the time is: a clock that is no
 * finer.  False for others, instructions among them: nobody counts those.
 */
bool read_counter(struct hart *h, unsigned csr, uint64_t *value);
/* Sets the time or the number of blocks at which to come back; false if it is over already. */
bool arm(struct hart *h, uint64_t deadline, uint64_t blocks);

void stop_or_refuel(struct hart *h);

/* At the beginning of each block: counts it, and stops there if somebody wants the hart or its time is up. */
static inline void begin_block(struct hart *h)
{
    bool wanted = atomic_load_explicit(&h->pending, memory_order_relaxed) != 0;
    if (__builtin_expect(wanted | (--h->fuel < 0), 0))
        stop_or_refuel(h);
}

/* Fuel has run out: whether the deadline is over; if not there is new fuel. */
bool time_is_up(struct hart *h);

/* Accounts for a trap that was handled: it took as long as some blocks, so time passes without arm() too. */
void charge(struct hart *h);

/* True if a debugger wants the hart to stop before the instruction at pc. */
bool is_break(const struct hart *h, uint64_t pc);

/* ---- state.c ---- */

uint64_t read_reg(struct hart *h, int id);
void write_reg(struct hart *h, int id, uint64_t value);

/* The view of the code that trapped last, read from the engine's registers. */
struct view look(struct hart *h);

/* Writes x1 to x31, f0 to f31 and fcsr. */
void set_registers(struct hart *h, const struct context *c);

/* Moves a context into Unicorn, and back. */
void load_context(struct hart *h, struct context *c);
void save_context(struct hart *h, struct context *c);

/* ---- zcb.c ---- */

/* Executes an instruction of Zcb; the pc is the caller's.  If it faults cause and tval are in t. */
enum settled { ILLEGAL, EXECUTED, FAULTED };
enum settled execute_zcb(struct hart *h, const struct view *v, uint32_t insn, struct trap *t);

/* ---- counters.c ---- */

/* On this thread the counters of cycles and instructions are illegal, as Unicorn sees it. */
extern _Thread_local bool counters_hidden;

/* Makes it so, once for the process. */
void hide_counters(void);

/* ---- hart.c ---- */

/* The hart's part of opening: creates an engine without memory.  False if Unicorn refuses. */
bool hart_prepare(struct hart *h, void *ram, uint64_t base, uint64_t bytes, struct clock *clock);

/* Releases what hart_prepare() acquired, even if it failed half-way. */
void hart_release(struct hart *h);

/*
 * Runs from *pc until a trap, a request, the deadline, or wfi (no cause); *pc is then the trap's epc.  Fills in
 * cause and tval, and for data faults the access.  Returns a uc_err that is nobody's trap.
 */
int step(struct hart *h, uint64_t *pc, struct trap *t, struct access *a);

int hart_break(struct hart *h, const uint64_t *addresses, uint64_t count);

#define FOREIGN_CONTEXT (-1)

/* ---- native/dispatch.c, on x86-64 ---- */

struct native;

/* As the function of run.c that runs a context on Unicorn. */
int native_run(struct native *n, struct context *c);

/* Somebody wants the hart out of the guest. */
void native_want(struct native *n);

/* Mappings went away; the code of physical [start, end) did. */
void native_flush(struct native *n);
void native_invalidate(struct native *n, uint64_t start, uint64_t end);
void native_close(struct native *n);

/* ---- shortcuts.c ---- */

/* The hart that executes on this thread, if it has shortcuts; else NULL. */
extern _Thread_local struct hart *running;

/* Writes a byte of RAM, which the bus shows, as the guest; code that was translated from there is forgotten. */
void store_byte(struct hart *h, uint64_t pa, uint8_t value);

/* True if a hart has shortcuts in this process.  h: with a fresh engine, which is left as it was. */
bool has_shortcuts(struct hart *h);

/* ---- threads.c ---- */

/* Execution is about to begin, or over; waits, on any thread, until it is over. */
void enter_guest(struct hart *h);
void leave_guest(struct hart *h);
void await_exit(struct hart *h);

#endif
