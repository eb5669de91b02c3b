/*
 * The native engine: translates an enclave's code to x86-64 and runs it on the thread of its hart.
 *
 *   dispatch.c     runs a context: native code, then whatever made it leave
 *   window.c       an address space of the host for each of the guest's, with its rights
 *   runs.c         what is mapped in one
 *   range.c        the addresses that windows lie at
 *   binding.c      which text is where in it
 *   paging.c       the guest's page tables
 *   fault.c        the signal of an access that the window refuses
 *   code.c         translated texts, shared by all of a machine who run the same
 *   cache.c        how much they may take
 *   area.c         the memory that may be executed
 *   place.c        where a text's code is put in that area
 *   translate.c    finds blocks and translates them; jumps
 *   integer.c, floating.c    translate one instruction
 *   ways.c         the way in and the ways out; jumps to where a register says
 *   registers.c    which guest registers live in registers of the host
 *   emit.c, decode.c    the two machine languages
 *
 * What a program can do to others rests on this: each of its accesses goes to gs:[base + offset], with a base that
 * was compared to WINDOW_BYTES and an offset of 12 bits, or to a constant address below 2 GiB; the window has
 * guards on both sides.  It executes only what was emitted here, entered at places that were meant as entries.
 */
#ifndef PENGLAI_NATIVE_H
#define PENGLAI_NATIVE_H

#include <pthread.h>
#include <stddef.h>
#include "../hart.h"
#include "emit.h"
#include "instruction.h"

/* Sv39's lower half.  The upper one is left to the other engine. */
#define WINDOW_BYTES ((uint64_t)1 << 38)
#define GUARD_BYTES ((uint64_t)1 << 16)

/* Why native code was left. */
enum reason {
    LEFT_POLL,      /* fuel has run out, or somebody wants the hart */
    LEFT_MISS,      /* the code at pc is not translated, or not in this text */
    LEFT_ELSEWHERE, /* the instruction at pc is for the other engine */
    LEFT_ECALL,
    LEFT_CSR,
    LEFT_FAULT, /* the instruction at pc made an access that the window refused */
};

/* What emitted code works on.  rbp points FRAME_BIAS into it, so that x0 to x31 are near. */
#define FRAME_BIAS 128
struct frame {
    struct context c; /* first: the registers have the shortest displacements */
    uint32_t reason;
    uint64_t jumps;  /* back, if the cache counts */
    _Atomic int32_t fuel; /* below 0: leave at the next poll.  Others set it so, and may lose to a count */
    uint64_t fault_at;    /* the host's address */
    bool fault_stores;
    uint64_t limit;       /* WINDOW_BYTES - 1 */
    uint64_t host_sp, return_limit, slow_return;
    uint64_t text_start, text_bytes, table, area, miss;
    uint64_t reserved_at, reserved_value; /* of lr: the address, plus 1 for a doubleword; or NOWHERE */
    uint32_t mxcsr, host_mxcsr;
    _Alignas(16) uint64_t constants[20];
};

/* Pairs in `constants`, by number; double and single precision. */
enum { C_NAN = 0, C_SIGN = 4, C_MAGNITUDE = 8, C_BOX = 12, C_LIMITS = 14 };

/* ---- code.c ---- */

/* The instructions of one batch that may fault. */
struct batch {
    struct batch *next;
    uint32_t start, end; /* in the area */
    size_t count;
    struct site sites[]; /* ascending; `at` is in the area */
};

/*
 * The texts of one machine, and how much they may take: in bytes, the texts themselves, their tables and what was
 * emitted for them.  No text has more than a part of it for what is emitted.
 */
struct cache {
    pthread_mutex_t lock;
    struct code *codes;
    uint64_t limit, used;
    uint64_t texts, text_bytes, area_bytes, resting;
    unsigned users; /* its harts, and whoever made it */
    bool counts; /* what its harts run counts jumps back, see where.c */
};
enum { CACHE_PARTS = 4 };

struct cache *cache_open(uint64_t limit);
void cache_share(struct cache *cache);
void cache_close(struct cache *cache);

/* Room for so many bytes; false if there is none. */
bool cache_take(struct cache *cache, uint64_t bytes);
void cache_give(struct cache *cache, uint64_t bytes);

/* A text: a run of pages that its program may execute and not write. */
struct code {
    struct code *next;
    struct cache *cache;
    uint64_t hash, start, bytes;
    uint8_t *text;
    bool floats; /* the harts that run it have a floating-point unit */
    uint32_t users;
    uint64_t lowest, highest; /* without users: the physical pages that its last one had it from lie there */

    pthread_mutex_t lock; /* of the rest, while it is translated */
    uint32_t *table; /* for each halfword: its entry in the area; 0 if there is none */
    uint32_t *fresh; /* the same for the batch under way: its place in the buffer, plus 1 */
    uint8_t *marks; /* for each halfword: MARK_... */
    uint16_t *samples; /* for each halfword: how often fuel ran out at a poll there */
    uint8_t map[32], float_map[32]; /* registers of the host, or NO_REG */
    uint32_t enter, leave, miss, poll, slow_return; /* stubs, in the area */
    uint32_t open, open_end; /* what is left of the last piece of the area */
    uint32_t *pieces; /* of the area: start and bytes, in turns */
    size_t piece_count;
    uint64_t emitted; /* bytes of these */
    bool full; /* nothing more is translated of it */

    /* Once enough is known of where the time goes, the same text is translated with other registers. */
    unsigned generation;
    _Atomic uint32_t sampled;
    _Atomic(struct code *) better; /* with a user more, which this one is */
    _Atomic(struct batch *) batches;
};

enum { MARK_QUEUED = 1, MARK_POLL = 2, MARK_POLLED = 4 };

/*
 * The code of a text, with one user more; NULL if there is no room.  `text` is the caller's, and copied if it is new.
 * Two texts are the same only if all their bytes are.
 */
struct code *code_take(struct cache *cache, uint64_t start, const uint8_t *text, uint64_t bytes, bool floats);
void code_release(struct code *code);

/*
 * The same, but if that was the last user the code rests until somebody takes it again, its text's pages, which lie
 * between lowest and highest, change hands, or others want its room.
 */
void code_rest(struct code *code, uint64_t lowest, uint64_t highest);

/* Frees what rests and was in physical [start, end).  False, and nothing is done, if that takes long. */
bool code_forget(struct cache *cache, uint64_t start, uint64_t end, bool patient);

/* Frees one that rests, if there is one. */
bool code_forget_any(struct cache *cache);

/* What a text of so many bytes takes before anything is emitted for it. */
uint64_t code_bytes(uint64_t text);

/* True if it is full for want of room in its cache; it is not full any more then. */
bool code_wants_room(struct code *code);

/* The host's address of the entry at pc, translated if it has to be; 0 if it cannot be. */
uint64_t code_entry(struct code *code, uint64_t pc);

/* Fuel has run out at pc; what is run from now on, which may be another translation and has the user of this one. */
void code_sample(struct code *code, uint64_t pc);
struct code *code_current(struct code *code);

/* ---- place.c ---- */

/* Copies what was emitted into the area, and makes its distances right: where it starts there, or 0. */
uint32_t code_place(struct code *code, struct buffer *b);

/* ---- area.c ---- */

/* The memory that may be executed, of all texts; false if the system gives none. */
#define AREA_BYTES ((uint32_t)1 << 30)
bool area_ready(void);
extern uint8_t *area;

/* So many bytes of it, in whole pieces: where they begin, or 0. */
#define PIECE_BYTES ((uint32_t)16 << 10)
uint32_t area_take(uint32_t bytes);
void area_give(uint32_t start, uint32_t bytes);
void area_write(uint32_t start, const void *bytes, size_t count);

/* ---- translate.c ---- */

/* Translates from pc on.  The caller holds the lock. */
void translate_from(struct code *code, uint64_t pc);

struct cold {
    uint32_t from;
    enum reason reason;
    uint64_t pc;
};

struct jump {
    uint32_t from;
    bool polled;
    uint64_t target;
};

/* A result that is a NaN: what is done with it stands behind the blocks, so that others do not jump over it. */
struct nan {
    uint32_t from, back;
    uint64_t pc;
    struct insn insn;
    uint8_t xmm, second; /* the result, and the second factor if it is of a fused multiplication */
    bool fused;
};

struct translator {
    struct code *code;
    struct buffer b;
    uint32_t *starts; /* halfwords at which blocks begin */
    size_t start_count, start_room;
    struct cold *colds;
    size_t cold_count, cold_room;
    struct jump *jumps;
    size_t jump_count, jump_room;
    struct nan *nans;
    size_t nan_count, nan_room;
    size_t insns;

    /* What is known at this point of a block. */
    uint32_t checked; /* registers that hold addresses in the window */
    uint32_t known; /* registers that hold these values */
    uint32_t boxed; /* floating-point registers that hold single precision */
    uint64_t values[32];

    /* At `truth_at` of what was emitted the host's flags say what x holds, which is 0 or 1; 0: they do not. */
    size_t truth_at;
    unsigned truth;
    enum condition truth_condition;
};

/* ---- ways.c ---- */

/* Leaves here if the condition holds, for this reason, at the instruction that is being translated. */
void leave_if(struct translator *t, enum condition condition, enum reason reason);
void leave_at(struct translator *t, enum reason reason, uint64_t pc);

/* Goes to the guest's address in rax by the table of entries; polls. */
void jump_to_rax(struct translator *t);

/* Only the first half of that: rcx is the host's address. */
void find_entry_of_rax(struct translator *t);

/* Counts; the distance of the jump that is taken when there is no more fuel. */
uint32_t emit_poll(struct buffer *b);

/* The jump whose distance is at `from` leaves: what it needs is emitted behind the blocks. */
void add_cold(struct translator *t, uint32_t from, enum reason reason, uint64_t pc);

/* The way in and the way out, once for each text. */
bool emit_stubs(struct code *code);

/* ---- integer.c, memory.c, floating.c ---- */

/* Translate one instruction; false if it is none of theirs, and nothing was emitted. */
bool translate_integer(struct translator *t, const struct insn *i);
bool translate_memory(struct translator *t, const struct insn *i);
bool translate_atomic(struct translator *t, const struct insn *i);
bool translate_floating(struct translator *t, const struct insn *i);

/* What blocks left for later: NaNs. */
void translate_nans(struct translator *t);

/* ---- registers.c ---- */

/* The instruction at an offset of the text. */
struct insn insn_at(const struct code *code, uint64_t offset);

void choose_registers(struct code *code, uint64_t entry);

/* Moves the guest's registers that live in the host's: in from the frame, or out to it. */
void move_all(const struct code *code, struct buffer *b, bool in);

struct place in_frame(size_t offset);
struct place constant(unsigned number);

/* A guest register as an operand; in a register of the host, loaded into `scratch` if it is in none. */
struct place operand(const struct translator *t, unsigned x);
enum reg source(struct translator *t, unsigned x, enum reg scratch);
void load_x(struct translator *t, enum reg reg, unsigned x);

/* Where to compute what x is to hold, and what makes it hold it. */
enum reg target(const struct translator *t, unsigned x, enum reg scratch);
void store_x(struct translator *t, unsigned x, enum reg reg);

struct place float_operand(const struct translator *t, unsigned f);
unsigned float_source(struct translator *t, unsigned f, unsigned scratch);
unsigned float_target(const struct translator *t, unsigned f, unsigned scratch);
void load_f(struct translator *t, unsigned xmm, unsigned f);
void store_f(struct translator *t, unsigned f, unsigned xmm);

/* ---- paging.c ---- */

#define PTE_PPN ((((uint64_t)1 << 44) - 1) << 10)
uint64_t physical(uint64_t entry);
bool in_ram(const struct hart *h, uint64_t pa);

/* The 512 words of a page table; NULL if that is no RAM.  Those of the leaf table for va; NULL if there is none. */
const uint64_t *table_at(const struct hart *h, uint64_t pa);
const uint64_t *leaf_table(const struct hart *h, uint64_t satp, uint64_t va);

/* The entry for va, or 0. */
uint64_t entry_of(const struct hart *h, uint64_t satp, uint64_t va);

/* ---- window.c ---- */

struct run_of_pages {
    uint64_t address; /* virtual */
    uint64_t entry; /* the page table's, of the first page */
    uint32_t pages;
};

/* A text at its place, and the entries that made it one. */
struct binding {
    uint64_t start, bytes;
    struct code *code; /* NULL: what is here is not translated */
    uint64_t *entries;
};

enum { BINDINGS = 4 };

struct window {
    struct window *newer, *older;
    uint64_t satp, epoch;
    uint8_t *base;
    struct run_of_pages *runs;
    size_t run_count, run_room;
    size_t hidden; /* runs of those who had it before: mapped without any right */
    struct binding bindings[BINDINGS];
    unsigned next_binding;
};

/*
 * `running` is held by the hart's thread while it runs a context, and by whoever closes its windows.  `lock` is
 * held for as long as pages are mapped or unmapped, or the list changes; it is taken after the other one.
 */
struct native {
    struct hart *hart;
    struct cache *cache;
    int memory; /* the file of RAM */
    uint64_t epoch;
    pthread_mutex_t running, lock;
    struct window *newest, *oldest;
    struct window *spare; /* by `older`: of nobody, with nothing in them */
    unsigned windows, spares;
    _Atomic bool abandoned; /* some of them belong to address spaces that are no more */
    uint64_t last_fault, last_pc;
    unsigned faults_in_a_row;
    unsigned trusted; /* so often the signal's handler is taken for ours unseen */
    struct {
        uint64_t entries, faults, elsewhere, maps, misses, validations;
    } counts;
    struct frame frame;
};

/* The window of an address space, as its page table is now; NULL if there can be none. */
struct window *window_of(struct native *n, uint64_t satp);

/* Maps the page at va, which an access did not reach, with its rights; false if that would not help. */
bool window_map(struct native *n, struct window *w, uint64_t va, bool store);

/*
 * From any thread: when it returns, nobody reaches through the window what the address space does not map any
 * more; nor anything, if the address space has ended.  False, and nothing is done, if that may take long.
 * satp 0: any may have lost mappings, and no hart uses them before it has looked.
 */
bool window_revoke(struct native *n, uint64_t satp, bool ended, bool patient);

/* Closes the windows of address spaces that have ended.  By who holds `running`. */
void windows_sweep(struct native *n);

/* Physical [start, end) changes hands: lets go of windows with code there. */
void windows_forget(struct native *n, uint64_t start, uint64_t end);
void windows_close(struct native *n);

/* ---- runs.c ---- */

/* Maps the run of pages that va is in; false if there is none, or a store may not go there. */
bool map_run(struct native *n, struct window *w, uint64_t va, bool store);

/* Unmaps all; or what the page table does not say any more. */
void drop_all_runs(struct window *w);
void drop_changed_runs(struct native *n, struct window *w);

/* Of a window that goes with them. */
void free_runs(struct window *w);

/* Pages in a window; runs in all windows of the process. */
uint64_t pages_in(const struct window *w);
int64_t runs_in_all(void);

/* ---- range.c ---- */

/* Whether the process has room for one now. */
bool range_possible(void);

/* WINDOW_BYTES of addresses and their guards; NULL if the process has none. */
uint8_t *range_reserve(void);
void range_give_back(uint8_t *base);

/* Whatever is mapped there is gone; or stays, and nobody can access it. */
void range_clear(uint8_t *base, uint64_t address, uint64_t bytes);
void range_hide(uint8_t *base);

/* ---- binding.c ---- */

/* The binding that pc is in; NULL if nothing can be executed there. */
struct binding *window_bind(struct native *n, struct window *w, uint64_t pc);

/* Lets go of all, or of all if the page table does not say any more what one says. */
void drop_bindings(struct window *w);
void rest_bindings(struct window *w); /* while nobody uses the address space */
void validate_bindings(struct native *n, struct window *w);

/*
 * Lets go of code that nobody uses, or of that of another window, the one of those that have some that was not used
 * for longest; false if there is none.
 */
bool drop_oldest_code(struct native *n, const struct window *but);

/* True if there is text in physical [start, end). */
bool has_text_in(const struct window *w, uint64_t start, uint64_t end);

/* ---- fault.c ---- */

/* Makes sure that the process's handler is ours; false if the system refuses. */
bool fault_handler_ready(void);

/* Runs native code from entry on, until it is left; gs is the window's. */
void fault_enter(struct native *n, struct window *w, struct code *code, uint64_t entry);

#endif
