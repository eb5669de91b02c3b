/*
 * Runs a context: native code for as long as there is some, and for what it leaves to the other engine one block
 * there, with the same registers.  Whatever becomes a trap of the guest is found out by the other engine, calls
 * excepted: so both engines have the same traps.
 */
#include <cpuid.h>
#include <stdlib.h>
#include <string.h>
#include "native.h"

#define MXCSR_MASKS 0x1f80
#define BLOCKS_OF_A_RESERVATION 64 /* of lr, something, sc, and what goes around it */
#define BLOCKS_OF_OTHER_CODE 4096  /* that is not translated */
#define FAULTS_IN_A_ROW 3
#define JUMPS_NEAR (2 * BLOCKS_OF_OTHER_CODE)
#define ENTRIES_TRUSTED 32
#define WANTS 25 /* with so many pauses after each */
#define PAUSES 8

enum { CSR_FFLAGS = 1, CSR_FRM = 2, CSR_FCSR = 3 };
enum { CSR_WRITE = 1, CSR_SET = 2, CSR_CLEAR = 3, CSR_IMMEDIATE = 4 };

/* ---- fcsr and MXCSR --------------------------------------------------------------------------- */

static uint32_t flags_to_host(uint64_t f)
{
    return (uint32_t)((f >> 4 & 1) | (f >> 3 & 1) << 2 | (f >> 2 & 1) << 3 | (f >> 1 & 1) << 4 |
                      (f & 1) << 5);
}

static uint64_t flags_of_host(uint32_t m)
{
    return (m & 1) << 4 | (m >> 2 & 1) << 3 | (m >> 3 & 1) << 2 | (m >> 4 & 1) << 1 | (m >> 5 & 1);
}

static bool host_rounds(uint64_t fcsr)
{
    return (fcsr >> 5 & 7) < RM_NEAREST_MAX;
}

static void take_fcsr(struct frame *f)
{
    static const uint32_t modes[4] = {0, 3, 1, 2};
    f->mxcsr = MXCSR_MASKS | flags_to_host(f->c.fcsr) | modes[f->c.fcsr >> 5 & 3] << 13;
}

static void give_fcsr(struct frame *f)
{
    f->c.fcsr = (f->c.fcsr & ~(uint64_t)31) | flags_of_host(f->mxcsr);
}

/* ---- what native code is left for ------------------------------------------------------------- */

static uint64_t operate(unsigned kind, uint64_t old, uint64_t operand)
{
    switch (kind & 3) {
    case CSR_WRITE:
        return operand;
    case CSR_SET:
        return old | operand;
    }
    return old & ~operand;
}

/* The CSRs of floating point, and time; false for others, and nothing done. */
static bool execute_csr(struct native *n, const struct insn *i)
{
    struct frame *f = &n->frame;
    bool reads_only = (i->rm & 3) != CSR_WRITE && !i->rs1;
    uint64_t operand = i->rm & CSR_IMMEDIATE ? i->rs1 : f->c.x[i->rs1], old;
    unsigned number = (unsigned)i->imm & 0xfff;
    if (i->rm == CSR_SET && !i->rs1 && read_counter(n->hart, number, &old)) {
        /* all done */
    } else if (number >= CSR_FFLAGS && number <= CSR_FCSR && !n->hart->run->without_floats) {
        unsigned shift = number == CSR_FRM ? 5 : 0;
        uint64_t mask = number == CSR_FFLAGS ? 31 : number == CSR_FRM ? 7 : 255;
        give_fcsr(f);
        old = f->c.fcsr >> shift & mask;
        if (!reads_only)
            f->c.fcsr = (f->c.fcsr & ~(mask << shift)) | (operate(i->rm, old, operand) & mask) << shift;
        take_fcsr(f);
    } else {
        return false;
    }
    if (i->rd)
        f->c.x[i->rd] = old;
    f->c.pc += i->bytes;
    return true;
}

/* So many blocks on the other engine.  Leaves a trap in t, or no cause. */
static int run_elsewhere(struct native *n, struct trap *t, unsigned blocks)
{
    struct hart *h = n->hart;
    struct frame *f = &n->frame;
    struct access a;
    int64_t fuel = h->fuel;
    if (atomic_exchange(&h->run->stale, 0)) /* while this hart ran */
        h->tlb_stale = true;
    give_fcsr(f);
    load_context(h, &f->c);
    h->counting = true;
    h->fuel = blocks;
    int error = step(h, &f->c.pc, t, &a);
    h->counting = false;
    h->fuel = fuel;
    charge(h);
    if (error)
        return error;
    save_context(h, &f->c);
    take_fcsr(f);
    f->reserved_at = NOWHERE;
    if (t->cause == CAUSE_M_TIMER)
        t->cause = NO_CAUSE;
    n->counts.elsewhere++;
    return 0;
}

/* The entry at the context's pc; for want of room the code of programs that have not run for long goes. */
static uint64_t find_entry(struct native *n, const struct window *w, struct code *code)
{
    uint64_t entry = code_entry(code, n->frame.c.pc);
    while (!entry && code_wants_room(code) && drop_oldest_code(n, w))
        entry = code_entry(code, n->frame.c.pc);
    return entry;
}

/* Native code from the context's pc on, if there is some; why it was left. */
static enum reason enter(struct native *n, struct window *w, struct code **ran)
{
    struct hart *h = n->hart;
    struct frame *f = &n->frame;
    struct binding *b = window_bind(n, w, f->c.pc);
    if (b && b->code)
        b->code = code_current(b->code);
    *ran = b ? b->code : NULL;
    uint64_t entry = *ran ? find_entry(n, w, *ran) : 0;
    if (!entry)
        return LEFT_ELSEWHERE;
    struct code *code = *ran;
    f->text_start = code->start;
    f->text_bytes = code->bytes;
    f->table = (uint64_t)code->table;
    f->miss = (uint64_t)(area + code->miss);
    f->slow_return = (uint64_t)(area + code->slow_return);
    atomic_store(&f->fuel, h->fuel > INT32_MAX ? INT32_MAX : (int32_t)h->fuel);
    if (atomic_load(&h->pending)) /* whoever wants the hart sets this first, and then the fuel */
        return LEFT_POLL;
    n->counts.entries++;
    fault_enter(n, w, code, entry);
    h->fuel = atomic_load_explicit(&f->fuel, memory_order_relaxed);
    return f->reason;
}

static struct insn insn_of(const struct native *n, const struct code *code)
{
    uint64_t offset = n->frame.c.pc - code->start;
    return code->bytes - offset < 2 || offset >= code->bytes ? (struct insn){0} : insn_at(code, offset);
}

/* How many blocks the other engine gets for what is at pc. */
static unsigned blocks_for(const struct native *n, const struct code *code)
{
    if (!code)
        return BLOCKS_OF_OTHER_CODE;
    return insn_of(n, code).op == OP_LR ? BLOCKS_OF_A_RESERVATION : 1;
}

/* The same access that faults again and again, although its page is mapped, is none of a window's. */
static bool mend_fault(struct native *n, struct window *w)
{
    struct frame *f = &n->frame;
    n->counts.faults++;
    if (f->fault_at != n->last_fault || f->c.pc != n->last_pc)
        n->faults_in_a_row = 0;
    n->last_fault = f->fault_at;
    n->last_pc = f->c.pc;
    return ++n->faults_in_a_row < FAULTS_IN_A_ROW &&
           window_map(n, w, f->fault_at - (uint64_t)w->base, f->fault_stores);
}

/* Deals with why native code was left: true if the other engine has to go on. */
static bool settle(struct native *n, struct window *w, const struct code *code, enum reason reason,
                   struct trap *t)
{
    struct frame *f = &n->frame;
    struct insn i;
    switch (reason) {
    case LEFT_POLL:
        return false;
    case LEFT_MISS:
        n->counts.misses++;
        return false;
    case LEFT_ECALL:
        *t = (struct trap){.cause = CAUSE_ECALL};
        return false;
    case LEFT_CSR:
        i = insn_of(n, code);
        return i.op != OP_CSR || !execute_csr(n, &i);
    case LEFT_FAULT:
        if (mend_fault(n, w))
            return false;
        /* The other engine has no reservation, and would let sc fail. */
        if (f->fault_stores && insn_of(n, code).op == OP_SC)
            *t = (struct trap){.cause = CAUSE_STORE_PAGE, .tval = f->fault_at - (uint64_t)w->base};
        return t->cause == NO_CAUSE;
    case LEFT_ELSEWHERE:
        break;
    }
    return true;
}

/*
 * The place where the run is to end is not overrun: a poll more than the fuel is at most two jumps back more, since
 * each has a poll behind it, or is a return of a call that had one.  False if the place is so near that the other
 * engine has to find it.
 */
static bool ration(struct native *n)
{
    struct hart *h = n->hart;
    h->run->jumps += n->frame.jumps;
    n->frame.jumps = 0;
    uint64_t left = jumps_left(h);
    if (left < JUMPS_NEAR)
        return false;
    if ((uint64_t)h->fuel > left / 2 - JUMPS_NEAR / 4)
        h->fuel = (int64_t)(left / 2 - JUMPS_NEAR / 4);
    return true;
}

/* To ask the system takes longer than a call of a program. */
static bool handler_ready(struct native *n)
{
    if (n->trusted)
        n->trusted--;
    else if (fault_handler_ready())
        n->trusted = ENTRIES_TRUSTED;
    else
        return false;
    return true;
}

static int run_until_trap(struct native *n, struct trap *t)
{
    struct hart *h = n->hart;
    struct frame *f = &n->frame;
    struct window *w = f->c.priv == PRIV_U ? window_of(n, f->c.satp) : NULL;
    n->faults_in_a_row = 0;
    f->reserved_at = NOWHERE;
    f->jumps = 0;
    take_fcsr(f);
    *t = (struct trap){.cause = NO_CAUSE};
    struct code *code = NULL;
    enum reason reason = LEFT_MISS;
    int error = 0;
    while (!error && t->cause == NO_CAUSE) {
        if (atomic_load(&h->pending)) {
            t->cause = CAUSE_M_SOFTWARE;
            break;
        }
        if (--h->fuel < 0) {
            if (time_is_up(h)) {
                t->cause = CAUSE_M_TIMER;
                break;
            }
            n->trusted = 0;
        }
        if (!ration(n))
            break;
        if (reason == LEFT_POLL && code)
            code_sample(code, f->c.pc);
        bool native = w && host_rounds(f->c.fcsr) && handler_ready(n);
        reason = native ? enter(n, w, &code) : LEFT_ELSEWHERE;
        if (settle(n, w, code, reason, t))
            error = run_elsewhere(n, t, blocks_for(n, code));
    }
    h->run->jumps += f->jumps;
    give_fcsr(f);
    return error;
}

int native_run(struct native *n, struct context *c)
{
    struct hart *h = n->hart;
    struct trap *t = &h->run->trap;
    int error = 0;
    memcpy(&n->frame.c, c, offsetof(struct context, owner));
    n->frame.c.x[0] = 0;
    *t = (struct trap){.cause = CAUSE_M_TIMER};
    pthread_mutex_lock(&n->running);
    windows_sweep(n);
    if (arm(h, h->run->deadline, 0))
        error = run_until_trap(n, t);
    pthread_mutex_unlock(&n->running);
    t->epc = n->frame.c.pc;
    if (atomic_load(&c->owner) != h->run->owner)
        return FOREIGN_CONTEXT;
    memcpy(c, &n->frame.c, offsetof(struct context, owner));
    return error;
}

/* ---- what run.c and Python call --------------------------------------------------------------- */

static void set_constants(struct frame *f)
{
    static const double doubles[] = {-1.0, 4294967296.0, 9223372036854775808.0};
    static const float floats[] = {-1.0f, 4294967296.0f, 9223372036854775808.0f};
    uint64_t *c = f->constants;
    c[C_NAN] = 0x7ff8000000000000;
    c[C_NAN + 2] = 0xffffffff7fc00000;
    c[C_SIGN] = (uint64_t)1 << 63;
    c[C_SIGN + 2] = (uint64_t)1 << 31;
    c[C_MAGNITUDE] = ~((uint64_t)1 << 63);
    c[C_MAGNITUDE + 1] = c[C_MAGNITUDE + 3] = UINT64_MAX;
    c[C_MAGNITUDE + 2] = ~((uint64_t)1 << 31);
    c[C_BOX] = 0xffffffff00000000;
    memcpy(&c[C_LIMITS], doubles, sizeof doubles);
    for (unsigned i = 0; i < 3; i++)
        memcpy(&c[C_LIMITS + 3 + i], &floats[i], sizeof floats[i]);
}

/* AVX and FMA3, which the system has to save too, and BMI2. */
static bool has_instructions(void)
{
    unsigned a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_AVX) || !(c & bit_FMA))
        return false;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 6) == 6 && __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & bit_BMI2;
}

/* Why there is no native engine here; NULL if there is one. */
EXPORT const char *native_obstacle(void)
{
    if (!has_instructions())
        return "the processor lacks AVX, FMA3 or BMI2";
    if (!area_ready())
        return "the system gives no memory that may be executed";
    return range_possible() ? NULL : "the process has no 256 GiB of addresses to spare (ulimit -v)";
}

/*
 * The hart's own code runs natively from now on, with that of other harts in the cache.  memory: the file of RAM.
 * False if that cannot be.
 */
EXPORT bool native_open(struct hart *h, int memory, struct cache *cache)
{
    struct native *n = native_obstacle() ? NULL : aligned_alloc(64, (sizeof *n + 63) & ~(size_t)63);
    if (!n)
        return false;
    memset(n, 0, sizeof *n);
    n->hart = h;
    n->memory = memory;
    n->cache = cache;
    cache->counts = h->run->counted != 0;
    cache_share(cache);
    pthread_mutex_init(&n->running, NULL);
    pthread_mutex_init(&n->lock, NULL);
    n->frame.limit = WINDOW_BYTES - 1;
    n->frame.area = (uint64_t)area;
    set_constants(&n->frame);
    h->native = n;
    return true;
}

void native_close(struct native *n)
{
    windows_close(n);
    while (code_forget_any(n->cache))
        ;
    cache_close(n->cache);
    pthread_mutex_destroy(&n->lock);
    pthread_mutex_destroy(&n->running);
    free(n);
}

/* Native code counts its fuel without a lock, and may overwrite this; then it is said again, for some µs. */
void native_want(struct native *n)
{
    for (unsigned i = 0; i < WANTS && atomic_load(&n->hart->in_guest); i++) {
        atomic_store(&n->frame.fuel, -1);
        for (unsigned j = 0; j < PAUSES; j++)
            __builtin_ia32_pause();
    }
}

void native_invalidate(struct native *n, uint64_t start, uint64_t end)
{
    pthread_mutex_lock(&n->running);
    windows_forget(n, start, end);
    pthread_mutex_unlock(&n->running);
}

/*
 * Mappings of this address space went away, or all of them with it: nobody reaches them when this returns.  Unless
 * patient: 0, and nothing is done, if it may take long.  satp 0: some went away of any.
 */
EXPORT int native_revoke(struct hart *h, uint64_t satp, uint64_t patient)
{
    return window_revoke(h->native, satp, false, patient);
}

EXPORT int native_end(struct hart *h, uint64_t satp, uint64_t patient)
{
    return window_revoke(h->native, satp, true, patient);
}

/* Physical [start, end) changes hands: what rests of its code goes.  As above. */
EXPORT int native_forget(struct hart *h, uint64_t start, uint64_t end, bool patient)
{
    return code_forget(h->native->cache, start, end, patient);
}

/* Counts, for people: in the order of penglai.machine.native. */
EXPORT void native_counts(const struct hart *h, uint64_t out[7])
{
    const struct native *n = h->native;
    uint64_t all[7] = {
        n->counts.entries, n->counts.elsewhere,   n->counts.faults, n->counts.maps,
        n->counts.misses,  n->counts.validations, n->windows,
    };
    memcpy(out, all, sizeof all);
}
