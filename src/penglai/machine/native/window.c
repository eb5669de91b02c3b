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
#define RUNS_MAX 4096
/* All harts together: a process has room for some 500 windows, and for 65,530 mappings. */
#define WINDOWS_MAX 256
#define WINDOWS_MIN 2
#define MAPPINGS_MAX 30000

static _Atomic int64_t harts, mappings;

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
    drop_bindings(w);
    w->satp = 0;
}

/* Addresses for a window; NULL if the process has none. */
static uint8_t *reserve(void)
{
    void *reserved = mmap(NULL, WINDOW_BYTES + 2 * GUARD_BYTES, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return reserved == MAP_FAILED ? NULL : (uint8_t *)reserved + GUARD_BYTES;
}

static void give_back(uint8_t *base)
{
    munmap(base - GUARD_BYTES, WINDOW_BYTES + 2 * GUARD_BYTES);
}

bool window_possible(void)
{
    uint8_t *base = reserve();
    if (base)
        give_back(base);
    return base;
}

static void close_window(struct native *n, struct window *w)
{
    unlink_window(n, w);
    if (!--n->windows)
        atomic_fetch_sub(&harts, 1);
    drop_bindings(w);
    atomic_fetch_sub(&mappings, (int64_t)w->run_count);
    give_back(w->base);
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
    uint8_t *base = w ? reserve() : NULL;
    if (!base) {
        free(w);
        return NULL;
    }
    w->base = base;
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
    bool idle = ended && !pthread_mutex_trylock(&n->running);
    pthread_mutex_lock(&n->lock);
    struct window *w = find_window(n, satp);
    if (w && idle) {
        close_window(n, w);
    } else if (w && ended) { /* what it has of code is the hart's thread's */
        drop_all_runs(w);
        w->satp = 0;
        atomic_store(&n->abandoned, true);
    } else if (w) {
        drop_changed_runs(n, w);
    }
    pthread_mutex_unlock(&n->lock);
    if (idle) {
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


void windows_forget(struct native *n, uint64_t start, uint64_t end)
{
    for (struct window *w = n->newest, *older; w; w = older) {
        older = w->older;
        if (has_text_in(w, start,
                        end)) { /* whose it was is gone, as a rule; what is still there is found again */
            pthread_mutex_lock(&n->lock);
            close_window(n, w);
            pthread_mutex_unlock(&n->lock);
        }
    }
}
