/*
 * Windows: a range of the host's addresses for each address space of the guest, WINDOW_BYTES long, in which the pages
 * of RAM that its page table maps are mapped with its rights.  A window is to a hart what a TLB is, and belongs to
 * one hart: pages are mapped when they are first used, together with their neighbours.
 *
 * Where mappings went away, whoever took them away unmaps them here too, whatever the hart does meanwhile: so
 * nothing is mapped in any window that its page table does not say.  When the hart is told that some went away
 * somewhere, it compares each window with its page table besides, before it uses it again.
 *
 * Only Sv39 and U-mode have windows, only the lower half of the addresses, and only pages whose accessed and dirty
 * bits are set: what is not mapped here is left to the other engine, which knows all of it.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "native.h"

#define SATP_MODE_SV39 8
#define PTE_PPN ((((uint64_t)1 << 44) - 1) << 10)
#define RUNS_MAX 4096
#define TEXT_PAGES_MAX 8192
/* All harts together: a process has room for some 500 windows, and for 65,530 mappings. */
#define WINDOWS_MAX 256
#define WINDOWS_MIN 2
#define MAPPINGS_MAX 30000

static _Atomic int64_t harts, mappings;

/* ---- page tables ------------------------------------------------------------------------------ */

static uint64_t physical(uint64_t entry)
{
    return (entry & PTE_PPN) << 2;
}

static bool in_ram(const struct hart *h, uint64_t pa)
{
    return pa >= h->ram_base && pa - h->ram_base < h->ram_bytes;
}

/* The 512 words of a page table; NULL if that is no RAM. */
static const uint64_t *table_at(const struct hart *h, uint64_t pa)
{
    return in_ram(h, pa) ? (const uint64_t *)(h->ram + (pa - h->ram_base)) : NULL;
}

/* The words of the leaf table for va; NULL if there is none.  It has 512 of them. */
static const uint64_t *leaf_table(const struct hart *h, uint64_t satp, uint64_t va)
{
    uint64_t table = (satp & (((uint64_t)1 << 44) - 1)) << 12;
    for (int shift = 30;; shift -= 9) {
        const uint64_t *words = table_at(h, table);
        if (shift == 12 || !words)
            return words;
        uint64_t entry = __atomic_load_n(&words[va >> shift & 511], __ATOMIC_RELAXED);
        if (!(entry & PTE_V) || entry & (PTE_R | PTE_W | PTE_X)) /* huge pages too: the other engine's */
            return NULL;
        table = physical(entry);
    }
}

static uint64_t entry_of(const struct hart *h, uint64_t satp, uint64_t va)
{
    const uint64_t *words = leaf_table(h, satp, va);
    return words ? __atomic_load_n(&words[va >> 12 & 511], __ATOMIC_RELAXED) : 0;
}

/* What of an entry must be the same for pages of one run. */
static uint64_t rights(uint64_t entry)
{
    return entry & ~PTE_PPN;
}

static int protection(uint64_t entry)
{
    if (!(entry & PTE_V) || !(entry & PTE_R) || !(entry & PTE_U) || !(entry & PTE_A) || entry >> 54)
        return PROT_NONE;
    return entry & PTE_W && entry & PTE_D ? PROT_READ | PROT_WRITE : PROT_READ;
}

static bool is_text(uint64_t entry)
{
    uint64_t wanted = PTE_V | PTE_X | PTE_U | PTE_A;
    return (entry & wanted) == wanted && !(entry & PTE_W) && !(entry >> 54);
}

/* ---- mappings --------------------------------------------------------------------------------- */

static void unmap(struct window *w, uint64_t address, uint64_t bytes)
{
    if (mmap(w->base + address, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
             0) == MAP_FAILED)
        abort(); /* the guest would keep what is not its own any more */
}

static void drop_run(struct window *w, size_t index)
{
    struct run_of_pages run = w->runs[index];
    unmap(w, run.address, (uint64_t)run.pages * PAGE_BYTES);
    w->runs[index] = w->runs[--w->run_count];
    atomic_fetch_sub(&mappings, 1);
}

static void drop_bindings(struct window *w)
{
    for (unsigned i = 0; i < BINDINGS; i++) {
        if (w->bindings[i].code)
            code_release(w->bindings[i].code);
        free(w->bindings[i].entries);
        w->bindings[i] = (struct binding){0};
    }
}

static void drop_all_runs(struct window *w)
{
    if (w->run_count)
        unmap(w, 0, WINDOW_BYTES);
    atomic_fetch_sub(&mappings, (int64_t)w->run_count);
    w->run_count = 0;
}

/* True if entry is what stands `pages` behind the first one in a run. */
static bool continues(uint64_t first, int64_t pages, uint64_t entry)
{
    return entry == first + ((uint64_t)pages << 10) && rights(entry) == rights(first);
}

static bool is_unchanged(const struct hart *h, uint64_t satp, const struct run_of_pages *run)
{
    const uint64_t *words = leaf_table(h, satp, run->address); /* a run lies in one */
    if (!words)
        return false;
    words += run->address >> 12 & 511;
    for (uint32_t page = 0; page < run->pages; page++)
        if (!continues(run->entry, page, __atomic_load_n(&words[page], __ATOMIC_RELAXED)))
            return false;
    return true;
}

static bool binding_unchanged(const struct hart *h, uint64_t satp, const struct binding *b)
{
    for (uint64_t page = 0; page < b->bytes / PAGE_BYTES; page++)
        if (entry_of(h, satp, b->start + page * PAGE_BYTES) != b->entries[page])
            return false;
    return true;
}

static void drop_changed_runs(struct native *n, struct window *w)
{
    for (size_t i = w->run_count; i-- > 0;)
        if (!is_unchanged(n->hart, w->satp, &w->runs[i]))
            drop_run(w, i);
}

/* Lets go of what the page table does not say any more. */
static void validate(struct native *n, struct window *w)
{
    drop_changed_runs(n, w);
    for (unsigned i = 0; i < BINDINGS; i++)
        if (w->bindings[i].bytes && !binding_unchanged(n->hart, w->satp, &w->bindings[i])) {
            drop_bindings(w);
            break;
        }
    w->epoch = n->epoch;
    n->counts.validations++;
}

/* ---- the list: newest first ------------------------------------------------------------------- */

static void unlink_window(struct native *n, struct window *w)
{
    *(w->newer ? &w->newer->older : &n->newest) = w->older;
    *(w->older ? &w->older->newer : &n->oldest) = w->newer;
    w->newer = w->older = NULL;
}

static void put_first(struct native *n, struct window *w)
{
    w->older = n->newest;
    if (n->newest)
        n->newest->newer = w;
    n->newest = w;
    if (!n->oldest)
        n->oldest = w;
}

static void empty(struct window *w)
{
    drop_all_runs(w);
    drop_bindings(w);
    w->satp = 0;
}

static void close_window(struct native *n, struct window *w)
{
    unlink_window(n, w);
    if (!--n->windows)
        atomic_fetch_sub(&harts, 1);
    drop_bindings(w);
    atomic_fetch_sub(&mappings, (int64_t)w->run_count);
    munmap(w->base - GUARD_BYTES, WINDOW_BYTES + 2 * GUARD_BYTES);
    free(w->runs);
    free(w);
}

static unsigned windows_allowed(void)
{
    int64_t share = WINDOWS_MAX / (atomic_load(&harts) ? atomic_load(&harts) : 1);
    return share < WINDOWS_MIN ? WINDOWS_MIN : (unsigned)share;
}

static struct window *new_window(struct native *n)
{
    struct window *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    void *reserved = mmap(NULL, WINDOW_BYTES + 2 * GUARD_BYTES, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED) {
        free(w);
        return NULL;
    }
    w->base = (uint8_t *)reserved + GUARD_BYTES;
    if (!n->windows)
        atomic_fetch_add(&harts, 1);
    n->windows++;
    put_first(n, w);
    return w;
}

/* One for another address space: a new one, or the one that was not used for longest. */
static struct window *fresh_window(struct native *n)
{
    while (n->windows > windows_allowed() || (n->windows > 1 && atomic_load(&mappings) > MAPPINGS_MAX))
        close_window(n, n->oldest);
    struct window *w;
    if (n->windows < windows_allowed() && (w = new_window(n)))
        return w;
    w = n->oldest;
    if (w)
        empty(w);
    return w;
}

static struct window *find_window(struct native *n, uint64_t satp)
{
    struct window *w = n->newest;
    while (w && w->satp != satp)
        w = w->older;
    return w;
}

static struct window *current_window(struct native *n, uint64_t satp)
{
    struct window *w = find_window(n, satp);
    if (!w) {
        w = fresh_window(n);
        if (!w)
            return NULL;
        w->satp = satp;
        w->epoch = n->epoch;
    }
    if (w != n->newest) {
        unlink_window(n, w);
        put_first(n, w);
    }
    if (w->epoch != n->epoch)
        validate(n, w);
    return w;
}

struct window *window_of(struct native *n, uint64_t satp)
{
    if (satp >> 60 != SATP_MODE_SV39)
        return NULL;
    pthread_mutex_lock(&n->lock);
    struct window *w = current_window(n, satp);
    pthread_mutex_unlock(&n->lock);
    return w;
}

void windows_sweep(struct native *n)
{
    if (!atomic_exchange(&n->abandoned, false))
        return;
    pthread_mutex_lock(&n->lock);
    for (struct window *w = n->newest, *older; w; w = older) {
        older = w->older;
        if (!w->satp)
            close_window(n, w);
    }
    pthread_mutex_unlock(&n->lock);
}

void window_revoke(struct native *n, uint64_t satp, bool ended)
{
    if (satp >> 60 != SATP_MODE_SV39)
        return;
    pthread_mutex_lock(&n->lock);
    struct window *w = find_window(n, satp);
    if (w && !ended)
        drop_changed_runs(n, w);
    if (w && ended) { /* what it has of code is the hart's thread's, unless that is idle */
        drop_all_runs(w);
        w->satp = 0;
        atomic_store(&n->abandoned, true);
    }
    pthread_mutex_unlock(&n->lock);
    if (w && ended && !pthread_mutex_trylock(&n->running)) {
        windows_sweep(n);
        pthread_mutex_unlock(&n->running);
    }
}

void windows_close(struct native *n)
{
    while (n->newest)
        close_window(n, n->newest);
}

/* ---- a page that is missing ------------------------------------------------------------------- */

static bool add_run(struct window *w, struct run_of_pages run)
{
    if (w->run_count == w->run_room) {
        size_t room = w->run_room ? 2 * w->run_room : 32;
        void *runs = realloc(w->runs, room * sizeof *w->runs);
        if (!runs)
            return false;
        w->runs = runs;
        w->run_room = room;
    }
    w->runs[w->run_count++] = run;
    atomic_fetch_add(&mappings, 1);
    return true;
}

/* A run that begins or ends here is in the way if it says something else than the table does now. */
static void drop_overlapping(struct window *w, uint64_t address, uint64_t bytes)
{
    for (size_t i = w->run_count; i-- > 0;) {
        const struct run_of_pages *run = &w->runs[i];
        if (run->address < address + bytes && address < run->address + (uint64_t)run->pages * PAGE_BYTES)
            drop_run(w, i);
    }
}

static bool map_run(struct native *n, struct window *w, uint64_t va, bool store)
{
    struct hart *h = n->hart;
    const uint64_t *words = va < WINDOW_BYTES ? leaf_table(h, w->satp, va) : NULL;
    if (!words)
        return false;
    unsigned slot = va >> 12 & 511, first = slot, end = slot + 1;
    uint64_t entry = __atomic_load_n(&words[slot], __ATOMIC_RELAXED);
    int prot = protection(entry);
    if (prot == PROT_NONE || !in_ram(h, physical(entry)) || (store && !(prot & PROT_WRITE)))
        return false;
    /* As far as the table goes on like this: whichever page of a run was missing, the run is the same. */
    while (first > 0 && continues(entry, (int64_t)first - 1 - slot, words[first - 1]) &&
           in_ram(h, physical(words[first - 1])))
        first--;
    while (end < 512 && continues(entry, (int64_t)end - slot, words[end]) && in_ram(h, physical(words[end])))
        end++;
    struct run_of_pages run = {
        .address = (va & ~PAGE_MASK) - (uint64_t)(slot - first) * PAGE_BYTES,
        .entry = entry - ((uint64_t)(slot - first) << 10),
        .pages = end - first,
    };
    uint64_t bytes = (uint64_t)run.pages * PAGE_BYTES;
    if (w->run_count >= RUNS_MAX)
        drop_all_runs(w);
    drop_overlapping(w, run.address, bytes);
    if (!add_run(w, run))
        return false;
    void *there = mmap(w->base + run.address, bytes, prot, MAP_SHARED | MAP_FIXED, n->memory,
                       (off_t)(physical(run.entry) - h->ram_base));
    if (there == MAP_FAILED) { /* nothing is there now, which is always safe */
        drop_run(w, w->run_count - 1);
        return false;
    }
    n->counts.maps++;
    return true;
}

bool window_map(struct native *n, struct window *w, uint64_t va, bool store)
{
    pthread_mutex_lock(&n->lock);
    bool mapped = map_run(n, w, va, store);
    pthread_mutex_unlock(&n->lock);
    return mapped;
}

/* ---- texts ------------------------------------------------------------------------------------ */

/* True if one of these pages, which lie between lowest and highest, may be written where this table maps. */
static bool maps_written(const uint64_t *leaves, const uint64_t *entries, uint64_t pages, uint64_t lowest,
                         uint64_t highest)
{
    for (unsigned leaf = 0; leaf < 512; leaf++) {
        uint64_t pa = physical(leaves[leaf]);
        if (!(leaves[leaf] & PTE_V) || !(leaves[leaf] & PTE_W) || pa < lowest || pa > highest)
            continue;
        for (uint64_t page = 0; page < pages; page++)
            if (physical(entries[page]) == pa)
                return true;
    }
    return false;
}

/* The table that an entry points to; NULL if there is none.  A huge page counts as one that may be written. */
static const uint64_t *next_table(const struct hart *h, uint64_t entry, bool *huge)
{
    if (!(entry & PTE_V))
        return NULL;
    *huge |= (entry & (PTE_R | PTE_W | PTE_X)) != 0;
    return table_at(h, physical(entry));
}

/* True if one of these pages may be written at another address of the address space. */
static bool is_written_elsewhere(const struct native *n, uint64_t satp, const uint64_t *entries,
                                 uint64_t pages)
{
    const struct hart *h = n->hart;
    const uint64_t *roots = table_at(h, (satp & (((uint64_t)1 << 44) - 1)) << 12);
    uint64_t lowest = UINT64_MAX, highest = 0;
    bool huge = !roots;
    for (uint64_t page = 0; page < pages; page++) {
        uint64_t pa = physical(entries[page]);
        lowest = pa < lowest ? pa : lowest;
        highest = pa > highest ? pa : highest;
    }
    for (unsigned top = 0; top < 512 && !huge; top++) {
        const uint64_t *middles = next_table(h, roots[top], &huge);
        for (unsigned middle = 0; middles && middle < 512 && !huge; middle++) {
            const uint64_t *leaves = next_table(h, middles[middle], &huge);
            if (leaves && !huge && maps_written(leaves, entries, pages, lowest, highest))
                return true;
        }
    }
    return huge;
}

static struct code *take_code(struct native *n, uint64_t satp, uint64_t start, const uint64_t *entries,
                              uint64_t pages)
{
    if (is_written_elsewhere(n, satp, entries, pages))
        return NULL;
    uint8_t *text = malloc(pages * PAGE_BYTES);
    bool read = text != NULL;
    for (uint64_t page = 0; page < pages && read; page++)
        read = bus_read(n->hart, physical(entries[page]), text + page * PAGE_BYTES, PAGE_BYTES);
    struct code *code =
        !read ? NULL : code_take(start, text, pages * PAGE_BYTES, !n->hart->run->without_floats);
    free(text);
    return code;
}

/* The pages around pc that are text, or that pc is in and that is none. */
static bool find_text(struct native *n, struct window *w, uint64_t pc, struct binding *found)
{
    struct hart *h = n->hart;
    uint64_t start = pc & ~PAGE_MASK, end = start + PAGE_BYTES;
    uint64_t entry = entry_of(h, w->satp, pc);
    if (pc >= WINDOW_BYTES || !(entry & PTE_V) || !(entry & PTE_X) || !in_ram(h, physical(entry)))
        return false;
    bool text = is_text(entry);
    while (text && start && end - start < TEXT_PAGES_MAX / 2 * PAGE_BYTES) {
        entry = entry_of(h, w->satp, start - PAGE_BYTES);
        if (!is_text(entry) || !in_ram(h, physical(entry)))
            break;
        start -= PAGE_BYTES;
    }
    while (text && end < WINDOW_BYTES && end - start < (uint64_t)TEXT_PAGES_MAX * PAGE_BYTES) {
        entry = entry_of(h, w->satp, end);
        if (!is_text(entry) || !in_ram(h, physical(entry)))
            break;
        end += PAGE_BYTES;
    }
    uint64_t pages = (end - start) / PAGE_BYTES;
    uint64_t *entries = malloc(pages * sizeof *entries);
    if (!entries)
        return false;
    for (uint64_t page = 0; page < pages; page++)
        entries[page] = entry_of(h, w->satp, start + page * PAGE_BYTES);
    *found = (struct binding){.start = start, .bytes = end - start, .entries = entries};
    if (text)
        found->code = take_code(n, w->satp, start, entries, pages);
    return true;
}

struct binding *window_bind(struct native *n, struct window *w, uint64_t pc)
{
    for (unsigned i = 0; i < BINDINGS; i++)
        if (pc - w->bindings[i].start < w->bindings[i].bytes)
            return &w->bindings[i];
    struct binding found;
    if (!find_text(n, w, pc, &found))
        return NULL;
    struct binding *b = &w->bindings[w->next_binding++ % BINDINGS];
    if (b->code)
        code_release(b->code);
    free(b->entries);
    *b = found;
    return b;
}

void windows_forget(struct native *n, uint64_t start, uint64_t end)
{
    for (struct window *w = n->newest, *older; w; w = older) {
        older = w->older;
        bool hit = false;
        for (unsigned i = 0; i < BINDINGS && !hit; i++)
            for (uint64_t page = 0; page < w->bindings[i].bytes / PAGE_BYTES && !hit; page++) {
                uint64_t pa = physical(w->bindings[i].entries[page]);
                hit = pa >= start && pa < end;
            }
        if (hit) { /* whose it was is gone, as a rule; what is still there is found again */
            pthread_mutex_lock(&n->lock);
            close_window(n, w);
            pthread_mutex_unlock(&n->lock);
        }
    }
}
