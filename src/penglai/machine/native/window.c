/*
 * Windows: a range of the host's addresses for each address space of the guest, WINDOW_BYTES long, in which the pages
 * of RAM that its page table maps are mapped with its rights.  A window is to a hart what a TLB is, and belongs to
 * one hart: pages are mapped when they are first used, together with their neighbours.
 *
 * Where mappings went away, whoever took them away unmaps them here too, whatever the hart does meanwhile: so
 * nothing is mapped in any window that its page table does not say.  The hart compares such a window with its page
 * table besides, before it uses it again; and each, if it is told that some went away somewhere.
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
#define RUNS_MAX 4096
/* All harts together: a process has room for some 500 windows, and for 65,530 mappings. */
#define WINDOWS_MAX 256
#define WINDOWS_MIN 2
#define MAPPINGS_MAX 30000
/* Of each hart, and of all: windows of enclaves that have ended, for those that come. */
#define SPARES_MAX 4
#define SPARES_IN_ALL 16
/* Hidden in one window. */
#define HIDDEN_MAX 64
#define HIDDEN_PAGES_MAX 512
/* So many are unmapped in some µs. */
#define QUICK_PAGES 1024

static _Atomic int64_t harts, mappings, spares;

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

/* ---- mappings --------------------------------------------------------------------------------- */

static void drop_run(struct window *w, size_t index)
{
    struct run_of_pages run = w->runs[index];
    range_clear(w->base, run.address, (uint64_t)run.pages * PAGE_BYTES);
    w->runs[index] = w->runs[--w->run_count];
    atomic_fetch_sub(&mappings, 1);
}

static uint64_t pages_in(const struct window *w)
{
    uint64_t pages = 0;
    for (size_t i = 0; i < w->run_count; i++)
        pages += w->runs[i].pages;
    return pages;
}

/* A few runs are only hidden, all of them by one call: the next owner's are mapped over them. */
static void drop_all_runs(struct window *w)
{
    if (!w->run_count)
        return;
    bool few = w->hidden + w->run_count <= HIDDEN_MAX && pages_in(w) <= HIDDEN_PAGES_MAX;
    w->hidden += w->run_count;
    w->run_count = 0;
    if (few) {
        range_hide(w->base);
        return;
    }
    range_clear(w->base, 0, WINDOW_BYTES);
    atomic_fetch_sub(&mappings, (int64_t)w->hidden);
    w->hidden = 0;
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
    validate_bindings(n, w);
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
    rest_bindings(w);
    w->satp = 0;
}

/* The window is nobody's any more, and its addresses are the process's again. */
static void discard(struct window *w)
{
    atomic_fetch_sub(&mappings, (int64_t)(w->run_count + w->hidden));
    range_give_back(w->base);
    free(w->runs);
    free(w);
}

/* Of code that it has and that is not to rest, its bindings are dropped before. */
static void close_window(struct native *n, struct window *w)
{
    unlink_window(n, w);
    if (!--n->windows)
        atomic_fetch_sub(&harts, 1);
    rest_bindings(w);
    drop_all_runs(w);
    w->satp = 0;
    if (n->spares == SPARES_MAX || atomic_fetch_add(&spares, 1) >= SPARES_IN_ALL) {
        if (n->spares != SPARES_MAX)
            atomic_fetch_sub(&spares, 1);
        discard(w);
        return;
    }
    w->older = n->spare;
    n->spare = w;
    n->spares++;
}

static struct window *take_spare(struct native *n)
{
    struct window *w = n->spare;
    if (!w)
        return NULL;
    n->spare = w->older;
    n->spares--;
    atomic_fetch_sub(&spares, 1);
    w->older = NULL;
    return w;
}

static unsigned windows_allowed(void)
{
    int64_t share = WINDOWS_MAX / (atomic_load(&harts) ? atomic_load(&harts) : 1);
    return share < WINDOWS_MIN ? WINDOWS_MIN : (unsigned)share;
}

static struct window *reserve_window(void)
{
    struct window *w = calloc(1, sizeof *w);
    if (w && !(w->base = range_reserve())) {
        free(w);
        return NULL;
    }
    return w;
}

static struct window *new_window(struct native *n)
{
    struct window *w = take_spare(n);
    if (!w && !(w = reserve_window()))
        return NULL;
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
        if (!w->satp) {
            drop_bindings(w); /* the text may have changed hands since */
            close_window(n, w);
        }
    }
    pthread_mutex_unlock(&n->lock);
}

/* The caller holds `lock`, and `running` if idle. */
static void take_away(struct native *n, struct window *w, bool ended, bool idle)
{
    if (ended && idle) {
        close_window(n, w);
    } else if (ended) { /* what it has of code is the hart's thread's */
        drop_all_runs(w);
        w->satp = 0;
        atomic_store(&n->abandoned, true);
    } else {
        drop_changed_runs(n, w);
        w->epoch = n->epoch - 1; /* the rest is for the hart's thread */
    }
}

bool window_revoke(struct native *n, uint64_t satp, bool ended, bool patient)
{
    if (!satp) {
        pthread_mutex_lock(&n->lock);
        n->epoch++;
        pthread_mutex_unlock(&n->lock);
    }
    if (satp >> 60 != SATP_MODE_SV39)
        return true;
    bool idle = ended && !pthread_mutex_trylock(&n->running);
    pthread_mutex_lock(&n->lock);
    struct window *w = find_window(n, satp);
    bool begun = patient || !w || pages_in(w) <= QUICK_PAGES;
    if (w && begun)
        take_away(n, w, ended, idle);
    pthread_mutex_unlock(&n->lock);
    if (idle) {
        windows_sweep(n);
        pthread_mutex_unlock(&n->running);
    }
    return begun;
}

void windows_close(struct native *n)
{
    while (n->newest) {
        drop_bindings(n->newest);
        close_window(n, n->newest);
    }
    for (struct window *w; (w = take_spare(n));)
        discard(w);
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

void windows_forget(struct native *n, uint64_t start, uint64_t end)
{
    for (struct window *w = n->newest, *older; w; w = older) {
        older = w->older;
        if (!has_text_in(w, start, end))
            continue;
        drop_bindings(w); /* whose it was is gone, as a rule; what is still there is found again */
        pthread_mutex_lock(&n->lock);
        close_window(n, w);
        pthread_mutex_unlock(&n->lock);
    }
}
