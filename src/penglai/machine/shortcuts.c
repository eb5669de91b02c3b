/*
 * Functions that a hart has instead of Unicorn's own: what they spare is a third of the time in which Linux boots.
 *
 * Unicorn's library calls its own functions by name, and the loader looks for a name in whoever asked for the
 * library before it looks in the library itself: so what is defined here is what Unicorn calls.  For a process
 * that had loaded Unicorn before, the library here is a copy of it (library.py).  If Unicorn was loaded for
 * everybody (LD_PRELOAD), all is as Unicorn does it, and slower: has_shortcuts() tells.  Whoever else uses
 * Unicorn in this process gets Unicorn's own functions: `running` tells.
 *
 *   - At the beginning of each block Unicorn looks whether it is to stop: so does a hart, and needs no hook.
 *   - Behind each access to memory Unicorn looks again.  Nobody stops a hart there.  The one access that needs it
 *     is a store to where nothing is: it leaves the block here.
 *   - A store to a page from which code was translated has to be seen, and others should not.  Unicorn goes by
 *     the rights that the page has at that address: it looks at each store to a page that may be executed, at none
 *     to a page that may be executed at another address, and it goes through the whole TLB for each block that
 *     it translates.  Here it goes by whether there is such code.
 *   - Some codes of 16 bits it does not know, and executes them as nothing.  Here it finds an illegal instruction.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include "hart.h"

_Thread_local struct hart *running;
static bool complete = true;          /* this Unicorn has all the functions that are needed here */
static _Atomic bool tried, in_effect; /* of the process: it is one or the other for all its harts */

/* In these, as in Unicorn: a CPU and its state; an offset into all that is mapped; the machine code that calls. */
static void (*real_check_exit)(void *uc, uint32_t delayed);
static void (*real_translate_check)(void *translator);
static void (*real_cpu_exit)(void *cpu);
static void (*leave_block)(void *cpu, uintptr_t code);
static void (*real_protect_code)(void *uc, uint64_t offset);
static void (*real_unprotect_code)(void *uc, uint64_t offset);
static void (*real_forget_stored)(void *uc, void *locked, uint64_t offset, int bytes, uintptr_t code);
static void (*real_reset_dirty_at)(void *cpu, uint64_t va, uint64_t bytes);
static void (*real_set_dirty)(void *cpu, uint64_t va);
static void (*reset_dirty)(void *cpu, uintptr_t start, uintptr_t bytes);
static void (*forget_code)(void *uc, uint64_t start, uint64_t end);
static void *(*pointer_to)(void *uc, void *block, uint64_t offset);
static uint32_t (*real_read_code)(void *state, uint64_t va);

/* ---- stops ------------------------------------------------------------------------------------ */

/* At the beginning of each block.  Where it stops the caller has to be the block, hence the jump. */
EXPORT void helper_check_exit_request_riscv64(void *uc, uint32_t delayed)
{
    struct hart *h = running;
    if (__builtin_expect(h != NULL, 1))
        begin_block(h);
    __attribute__((musttail)) return real_check_exit(uc, delayed);
}

/* Translates the same check for after a memory access. */
EXPORT void check_exit_request_riscv64(void *translator)
{
    if (!running)
        real_translate_check(translator);
}

EXPORT void cpu_exit(void *cpu)
{
    real_cpu_exit(cpu);
    if (running)
        running->leaving = cpu;
}

/* ---- code and stores -------------------------------------------------------------------------- */

/*
 * Of a page: code was translated from it; the TLB may let it be stored to without a look; how often it was
 * stored to beside the code since it has some.  Code that is so often stored beside is mostly what is left of a
 * page's last use, such as a kernel's beginning: it is forgotten, and the page is watched no more.
 */
enum { HAS_CODE = 1, UNWATCHED = 2, ONE_STORE = 4, STORES_MAX = 1024 * ONE_STORE };

/* NULL for a page of which nothing is known: it may have code, and is never unwatched. */
static uint16_t *page_state(struct hart *h, uint64_t offset)
{
    uint64_t page = offset / PAGE_BYTES;
    return page < h->ram_bytes / PAGE_BYTES ? &h->pages[page] : NULL;
}

/* A page gets its first code. */
EXPORT void tlb_protect_code_riscv64(void *uc, uint64_t offset)
{
    struct hart *h = running;
    uint16_t *state = h ? page_state(h, offset) : NULL;
    real_protect_code(uc, offset);
    if (!state)
        return;
    if (*state & UNWATCHED)
        reset_dirty(h->cpu, (uintptr_t)pointer_to(uc, NULL, offset), PAGE_BYTES);
    *state = HAS_CODE;
}

/* The page has no code any more. */
EXPORT void tlb_unprotect_code_riscv64(void *uc, uint64_t offset)
{
    uint16_t *state = running ? page_state(running, offset) : NULL;
    real_unprotect_code(uc, offset);
    if (state)
        *state &= ~HAS_CODE;
}

/* The store under way is to a page that the TLB watches. */
EXPORT void tb_invalidate_phys_page_fast_riscv64(void *uc, void *locked, uint64_t offset, int bytes,
                                                 uintptr_t code)
{
    struct hart *h = running;
    uint16_t *state = h ? page_state(h, offset) : NULL;
    if (!state || *state & HAS_CODE)
        real_forget_stored(uc, locked, offset, bytes, code);
    if (h) {
        h->stored = state;
        h->stored_at = offset;
    }
}

/* A block was translated: its page is watched since it has code. */
EXPORT void tlb_reset_dirty_by_vaddr_riscv64(void *cpu, uint64_t va, uint64_t bytes)
{
    if (running) {
        running->cpu = cpu;
        running->half_at = NOWHERE;
    } else {
        real_reset_dirty_at(cpu, va, bytes);
    }
}

/* Unicorn would let a page be stored to without a look; finish_store() knows better. */
EXPORT void tlb_set_dirty_riscv64(void *cpu, uint64_t va)
{
    if (!running)
        real_set_dirty(cpu, va);
}

static void finish_store(struct hart *h, uint64_t va, uintptr_t code)
{
    uint16_t *state = h->stored;
    h->stored = NULL;
    if (h->leaving)
        leave_block(h->leaving, code);
    if (!state)
        return;
    if (*state & HAS_CODE && (*state += ONE_STORE) >= STORES_MAX) {
        uint64_t page = h->stored_at & ~PAGE_MASK;
        *state &= ONE_STORE - 1;
        forget_code(h->uc, page, page + PAGE_BYTES);
    }
    if (!(*state & HAS_CODE)) {
        *state |= UNWATCHED;
        real_set_dirty(h->cpu, va);
    }
}

/* One width.  A store across pages is one of single bytes. */
#define STORE(function, type)                                                                           \
    static void (*real_##function)(void *state, uint64_t va, type value, uint32_t how, uintptr_t code); \
    EXPORT void function(void *state, uint64_t va, type value, uint32_t how, uintptr_t code)            \
    {                                                                                                   \
        struct hart *h = running;                                                                       \
        if (h) {                                                                                        \
            h->leaving = NULL;                                                                          \
            h->stored = NULL;                                                                           \
        }                                                                                               \
        real_##function(state, va, value, how, code);                                                   \
        if (h)                                                                                          \
            finish_store(h, va, code);                                                                  \
    }

STORE(helper_ret_stb_mmu_riscv64, uint8_t)
STORE(helper_le_stw_mmu_riscv64, uint16_t)
STORE(helper_le_stl_mmu_riscv64, uint32_t)
STORE(helper_le_stq_mmu_riscv64, uint64_t)

void store_byte(struct hart *h, uint64_t pa, uint8_t value)
{
    uint64_t offset = pa - h->ram_base, page = pa & ~PAGE_MASK, priv;
    h->ram[offset] = value;
    if (h->shortcuts && !(h->pages[offset / PAGE_BYTES] & HAS_CODE))
        return;
    priv = read_reg(h, UC_RISCV_REG_PRIV);
    write_reg(h, UC_RISCV_REG_PRIV, PRIV_M); /* without translation: addresses are physical */
    uc_ctl_remove_cache(h->uc, page, page + PAGE_BYTES);
    write_reg(h, UC_RISCV_REG_PRIV, priv);
}

/* ---- codes that Unicorn does not know --------------------------------------------------------- */

/* Looks at the second half without a fault: it is not there if the translator is to stop before it. */
static bool begins_unboxed(const struct hart *h, uint32_t half, uint64_t va)
{
    const struct view v = {.satp = h->satp};
    uint16_t second;
    return (half & 0x7f) == 0x53 && fetch16(h, &v, va + 2, &second) &&
           is_unboxed((uint32_t)second << 16 | half);
}

/* The translator reads an instruction by halves.  What looks like one of 16 bits may be the second half. */
EXPORT uint32_t cpu_lduw_code_riscv64(void *state, uint64_t va)
{
    struct hart *h = running;
    uint32_t half = real_read_code(state, va);
    if (!h)
        return half;
    bool second = h->half_at == va - 2;
    if (!second && h->run && h->run->counted && begins_unboxed(h, half, va))
        return 0;
    h->half_at = !second && (half & 3) == 3 ? va : NOWHERE;
    return second || !is_unknown16(half) ? half : 0;
}

/* ---- whether Unicorn calls these -------------------------------------------------------------- */

/* Executes one instruction, and sees whether it counts as a block. */
static bool try_shortcuts(struct hart *h)
{
    static const uint32_t nop = 0x00000013;
    if (uc_mem_map(h->uc, 0, PAGE_BYTES, UC_PROT_ALL))
        return false;
    uc_mem_write(h->uc, 0, &nop, sizeof nop);
    running = h;
    h->fuel = 1;
    uc_emu_start(h->uc, 0, sizeof nop, 0, 0);
    running = NULL;
    uc_ctl_flush_tb(h->uc);
    uc_mem_unmap(h->uc, 0, PAGE_BYTES);
    h->pages[0] = 0;
    return h->fuel == 0;
}

bool has_shortcuts(struct hart *h)
{
    if (!tried) {
        in_effect = complete && try_shortcuts(h);
        tried = true;
    }
    return in_effect;
}

EXPORT bool shortcuts_in_effect(void)
{
    return in_effect;
}

/* ---- Unicorn's own ---------------------------------------------------------------------------- */

static void *real(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    complete = complete && found;
    return found;
}

__attribute__((constructor)) static void find_real_functions(void)
{
    real_check_exit = real("helper_check_exit_request_riscv64");
    real_translate_check = real("check_exit_request_riscv64");
    real_cpu_exit = real("cpu_exit");
    leave_block = real("cpu_loop_exit_restore_riscv64");
    real_protect_code = real("tlb_protect_code_riscv64");
    real_unprotect_code = real("tlb_unprotect_code_riscv64");
    real_forget_stored = real("tb_invalidate_phys_page_fast_riscv64");
    real_reset_dirty_at = real("tlb_reset_dirty_by_vaddr_riscv64");
    real_set_dirty = real("tlb_set_dirty_riscv64");
    reset_dirty = real("tlb_reset_dirty_riscv64");
    forget_code = real("tb_invalidate_phys_page_range_riscv64");
    pointer_to = real("qemu_map_ram_ptr_riscv64");
    real_read_code = real("cpu_lduw_code_riscv64");
    real_helper_ret_stb_mmu_riscv64 = real("helper_ret_stb_mmu_riscv64");
    real_helper_le_stw_mmu_riscv64 = real("helper_le_stw_mmu_riscv64");
    real_helper_le_stl_mmu_riscv64 = real("helper_le_stl_mmu_riscv64");
    real_helper_le_stq_mmu_riscv64 = real("helper_le_stq_mmu_riscv64");
}
