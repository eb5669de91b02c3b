/*
 * What is mapped in a window: runs of pages that lie one after the other in RAM as they do in the address space, with
 * the same rights.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>
#include "native.h"

#define RUNS_MAX 4096
/* Hidden in one window. */
#define HIDDEN_MAX 64
#define HIDDEN_PAGES_MAX 512

static _Atomic int64_t mappings;

int64_t runs_in_all(void)
{
    return atomic_load(&mappings);
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

static void drop_run(struct window *w, size_t index)
{
    struct run_of_pages run = w->runs[index];
    range_clear(w->base, run.address, (uint64_t)run.pages * PAGE_BYTES);
    w->runs[index] = w->runs[--w->run_count];
    atomic_fetch_sub(&mappings, 1);
}

uint64_t pages_in(const struct window *w)
{
    uint64_t pages = 0;
    for (size_t i = 0; i < w->run_count; i++)
        pages += w->runs[i].pages;
    return pages;
}

/* A few runs are only hidden, all of them by one call: the next owner's are mapped over them. */
void drop_all_runs(struct window *w)
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

void drop_changed_runs(struct native *n, struct window *w)
{
    for (size_t i = w->run_count; i-- > 0;)
        if (!is_unchanged(n->hart, w->satp, &w->runs[i]))
            drop_run(w, i);
}

void free_runs(struct window *w)
{
    atomic_fetch_sub(&mappings, (int64_t)(w->run_count + w->hidden));
    free(w->runs);
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

bool map_run(struct native *n, struct window *w, uint64_t va, bool store)
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
