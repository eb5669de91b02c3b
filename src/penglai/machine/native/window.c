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
#include <stdlib.h>
#include "native.h"

#define SATP_MODE_SV39 8
/* All harts together: a process has room for some 500 windows, and for 65,530 mappings. */
#define WINDOWS_MAX 256
#define WINDOWS_MIN 2
#define MAPPINGS_MAX 30000
/* Of each hart, and of all: windows of enclaves that have ended, for those that come. */
#define SPARES_MAX 4
#define SPARES_IN_ALL 16
/* So many are unmapped in some µs. */
#define QUICK_PAGES 1024

static _Atomic int64_t harts, spares;

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
    free_runs(w);
    range_give_back(w->base);
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
    while (n->windows > windows_allowed() || (n->windows > 1 && runs_in_all() > MAPPINGS_MAX))
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
