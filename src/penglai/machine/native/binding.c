/*
 * Bindings: which text is where in an address space.  A text is a run of pages that may be executed and that nobody
 * can write to, at any of its addresses; whatever else may be executed is left to the other engine.
 *
 * They belong to whoever holds `running`, which is the hart's thread, or who closes its windows.
 */
#include <stdlib.h>
#include "native.h"

#define TEXT_PAGES_MAX 8192

static bool is_text(uint64_t entry)
{
    uint64_t wanted = PTE_V | PTE_X | PTE_U | PTE_A;
    return (entry & wanted) == wanted && !(entry & PTE_W) && !(entry >> 54);
}

void drop_bindings(struct window *w)
{
    for (unsigned i = 0; i < BINDINGS; i++) {
        if (w->bindings[i].code)
            code_release(w->bindings[i].code);
        free(w->bindings[i].entries);
        w->bindings[i] = (struct binding){0};
    }
}

static void find_bounds(const uint64_t *entries, uint64_t pages, uint64_t *lowest, uint64_t *highest)
{
    *lowest = UINT64_MAX;
    *highest = 0;
    for (uint64_t page = 0; page < pages; page++) {
        uint64_t pa = physical(entries[page]);
        *lowest = pa < *lowest ? pa : *lowest;
        *highest = pa > *highest ? pa : *highest;
    }
}

void rest_bindings(struct window *w)
{
    for (unsigned i = 0; i < BINDINGS; i++) {
        struct binding *b = &w->bindings[i];
        uint64_t lowest, highest;
        find_bounds(b->entries, b->bytes / PAGE_BYTES, &lowest, &highest);
        if (b->code)
            code_rest(code_current(b->code), lowest, highest);
        b->code = NULL;
    }
    drop_bindings(w);
}

static bool binding_unchanged(const struct hart *h, uint64_t satp, const struct binding *b)
{
    for (uint64_t page = 0; page < b->bytes / PAGE_BYTES; page++)
        if (entry_of(h, satp, b->start + page * PAGE_BYTES) != b->entries[page])
            return false;
    return true;
}

void validate_bindings(struct native *n, struct window *w)
{
    for (unsigned i = 0; i < BINDINGS; i++)
        if (w->bindings[i].bytes && !binding_unchanged(n->hart, w->satp, &w->bindings[i])) {
            drop_bindings(w);
            return;
        }
}

bool has_text_in(const struct window *w, uint64_t start, uint64_t end)
{
    for (unsigned i = 0; i < BINDINGS; i++)
        for (uint64_t page = 0; page < w->bindings[i].bytes / PAGE_BYTES; page++) {
            uint64_t pa = physical(w->bindings[i].entries[page]);
            if (pa >= start && pa < end)
                return true;
        }
    return false;
}

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
    uint64_t lowest, highest;
    bool huge = !roots;
    find_bounds(entries, pages, &lowest, &highest);
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

bool drop_oldest_code(struct native *n, const struct window *but)
{
    if (code_forget_any(n->cache))
        return true;
    for (struct window *w = n->oldest; w; w = w->newer)
        for (unsigned i = 0; i < BINDINGS && w != but; i++)
            if (w->bindings[i].code) {
                drop_bindings(w);
                return true;
            }
    return false;
}

static bool has_room(struct cache *cache, uint64_t bytes)
{
    bool room = cache_take(cache, bytes);
    if (room)
        cache_give(cache, bytes);
    return room;
}

static struct code *take_code(struct native *n, const struct window *w, uint64_t start,
                              const uint64_t *entries, uint64_t pages)
{
    if (is_written_elsewhere(n, w->satp, entries, pages))
        return NULL;
    while (!has_room(n->cache, code_bytes(pages * PAGE_BYTES)) && drop_oldest_code(n, w))
        ;
    uint8_t *text = malloc(pages * PAGE_BYTES);
    bool read = text != NULL;
    for (uint64_t page = 0; page < pages && read; page++)
        read = bus_read(n->hart, physical(entries[page]), text + page * PAGE_BYTES, PAGE_BYTES);
    struct code *code =
        !read ? NULL : code_take(n->cache, start, text, pages * PAGE_BYTES, !n->hart->run->without_floats);
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
        found->code = take_code(n, w, start, entries, pages);
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
