/*
 * Translated texts.  One is identified by all of its bytes and the address that it is at: whoever runs the same on
 * the same machine has the same code.  While nobody has it, it rests for as long as its text stays where it was: a
 * shadow's, for its next instance.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "native.h"

/* ---- texts ------------------------------------------------------------------------------------ */

static uint64_t hash_of(const uint8_t *text, uint64_t bytes)
{
    uint64_t hash = 0x9e3779b97f4a7c15;
    for (uint64_t at = 0; at + 8 <= bytes; at += 8) {
        uint64_t word;
        memcpy(&word, text + at, sizeof word);
        hash = (hash ^ word) * 0xff51afd7ed558ccd;
        hash ^= hash >> 32;
    }
    return hash;
}

/* Of table, fresh, samples and marks together. */
static uint64_t table_bytes(uint64_t text)
{
    return text / 2 * (2 * sizeof(uint32_t) + sizeof(uint16_t) + 1);
}

uint64_t code_bytes(uint64_t text)
{
    return text + table_bytes(text);
}

/* Those that lie in a row at once: it is the system that takes long. */
static void give_pieces(const struct code *code)
{
    for (size_t i = 0; i < code->piece_count;) {
        uint32_t start = code->pieces[2 * i], end = start;
        for (; i < code->piece_count && code->pieces[2 * i] == end; i++)
            end += code->pieces[2 * i + 1];
        area_give(start, end - start);
    }
}

static void free_code(struct code *code)
{
    give_pieces(code);
    pthread_mutex_lock(&code->cache->lock);
    code->cache->area_bytes -= code->emitted;
    pthread_mutex_unlock(&code->cache->lock);
    cache_give(code->cache, code_bytes(code->bytes) + code->emitted);
    for (struct batch *batch = code->batches, *next; batch; batch = next) {
        next = batch->next;
        free(batch);
    }
    if (code->table)
        munmap(code->table, table_bytes(code->bytes));
    pthread_mutex_destroy(&code->lock);
    free(code->text);
    free(code->pieces);
    free(code);
}

/* The tables are large and mostly never touched. */
static struct code *make_code(struct cache *cache, uint64_t start, const uint8_t *text, uint64_t bytes,
                              bool floats)
{
    struct code *code = calloc(1, sizeof *code);
    if (!code || !cache_take(cache, code_bytes(bytes))) {
        free(code);
        return NULL;
    }
    code->cache = cache;
    uint64_t halves = bytes / 2;
    pthread_mutex_init(&code->lock, NULL);
    code->start = start;
    code->floats = floats;
    code->bytes = bytes;
    code->users = 1;
    code->text = malloc(bytes);
    void *tables = mmap(NULL, table_bytes(bytes), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (tables != MAP_FAILED) {
        code->table = tables;
        code->fresh = code->table + halves;
        code->samples = (uint16_t *)(code->fresh + halves);
        code->marks = (uint8_t *)(code->samples + halves);
    }
    if (!code->text || !code->table) {
        free_code(code);
        return NULL;
    }
    memcpy(code->text, text, bytes);
    return code;
}

/* The caller holds the cache's lock. */
static void add_code(struct code *code)
{
    struct cache *cache = code->cache;
    code->next = cache->codes;
    cache->codes = code;
    cache->texts++;
    cache->text_bytes += code->bytes;
}

struct code *code_take(struct cache *cache, uint64_t start, const uint8_t *text, uint64_t bytes, bool floats)
{
    uint64_t hash = hash_of(text, bytes);
    pthread_mutex_lock(&cache->lock);
    struct code *code = cache->codes;
    while (code && !(code->hash == hash && code->start == start && code->bytes == bytes &&
                     code->floats == floats && !code->better))
        code = code->next;
    if (code) {
        cache->resting -= code->users == 0;
        code->users++;
    }
    pthread_mutex_unlock(&cache->lock);
    if (code && !memcmp(code->text, text, bytes))
        return code;
    if (code) { /* other bytes of the same hash: somebody has made them so, and runs elsewhere */
        code_release(code);
        return NULL;
    }
    code = make_code(cache, start, text, bytes, floats);
    if (!code)
        return NULL;
    code->hash = hash;
    pthread_mutex_lock(&cache->lock);
    add_code(code);
    pthread_mutex_unlock(&cache->lock);
    return code;
}

/* The caller holds the cache's lock. */
static void remove_code(struct code *code)
{
    struct cache *cache = code->cache;
    struct code **link = &cache->codes;
    while (*link != code)
        link = &(*link)->next;
    *link = code->next;
    cache->texts--;
    cache->text_bytes -= code->bytes;
}

void code_release(struct code *code)
{
    struct cache *cache = code->cache;
    pthread_mutex_lock(&cache->lock);
    bool last = --code->users == 0;
    if (last)
        remove_code(code);
    pthread_mutex_unlock(&cache->lock);
    if (!last)
        return;
    struct code *better = code->better;
    free_code(code);
    if (better)
        code_release(better);
}

/* ---- those that nobody uses ------------------------------------------------------------------- */

#define QUICK_TEXT ((uint64_t)256 << 10)

void code_rest(struct code *code, uint64_t lowest, uint64_t highest)
{
    struct cache *cache = code->cache;
    pthread_mutex_lock(&cache->lock);
    bool rests = code->users == 1 && !code->better;
    if (rests) {
        code->users = 0;
        code->lowest = lowest;
        code->highest = highest;
        cache->resting++;
    }
    pthread_mutex_unlock(&cache->lock);
    if (!rests)
        code_release(code);
}

static bool rests_in(const struct code *code, uint64_t start, uint64_t end)
{
    return !code->users && code->lowest < end && start <= code->highest;
}

/* The last that rests there, not in the list any more; NULL if there is none. */
static struct code *take_resting(struct cache *cache, uint64_t start, uint64_t end)
{
    struct code *found = NULL;
    for (struct code *code = cache->resting ? cache->codes : NULL; code; code = code->next)
        if (rests_in(code, start, end))
            found = code;
    if (found) {
        remove_code(found);
        cache->resting--;
    }
    return found;
}

bool code_forget(struct cache *cache, uint64_t start, uint64_t end, bool patient)
{
    struct code *code, *gone = NULL;
    pthread_mutex_lock(&cache->lock);
    for (code = cache->resting && !patient ? cache->codes : NULL; code; code = code->next)
        if (rests_in(code, start, end) && code->bytes > QUICK_TEXT)
            break;
    bool begun = !code;
    while (begun && (code = take_resting(cache, start, end))) {
        code->next = gone;
        gone = code;
    }
    pthread_mutex_unlock(&cache->lock);
    while (gone) {
        code = gone;
        gone = code->next;
        free_code(code);
    }
    return begun;
}

bool code_forget_any(struct cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    struct code *code = take_resting(cache, 0, UINT64_MAX);
    pthread_mutex_unlock(&cache->lock);
    if (code)
        free_code(code);
    return code;
}

/* ---- the next generation ---------------------------------------------------------------------- */

#define GENERATIONS 3
#define FIRST_SAMPLES 24
#define MORE_SAMPLES 16 /* times as many for each generation after it */

void code_sample(struct code *code, uint64_t pc)
{
    uint64_t offset = pc - code->start;
    if (offset >= code->bytes)
        return;
    uint16_t *sample = &code->samples[offset / 2];
    uint16_t count = __atomic_load_n(sample, __ATOMIC_RELAXED);
    if (count < UINT16_MAX)
        __atomic_store_n(sample, count + 1, __ATOMIC_RELAXED);
    atomic_fetch_add_explicit(&code->sampled, 1, memory_order_relaxed);
}

static void make_better(struct code *code)
{
    struct code *better = make_code(code->cache, code->start, code->text, code->bytes, code->floats);
    if (!better)
        return;
    better->hash = code->hash;
    better->generation = code->generation + 1;
    for (uint64_t half = 0; half < code->bytes / 2; half++)
        if (code->samples[half])
            better->samples[half] = code->samples[half];
    pthread_mutex_lock(&code->cache->lock);
    struct code *none = NULL;
    bool first = atomic_compare_exchange_strong(&code->better, &none, better);
    if (first)
        add_code(better);
    pthread_mutex_unlock(&code->cache->lock);
    if (!first)
        free_code(better);
}

struct code *code_current(struct code *code)
{
    uint32_t enough = FIRST_SAMPLES;
    for (unsigned generation = 0; generation < code->generation; generation++)
        enough *= MORE_SAMPLES;
    if (!code->better && code->generation < GENERATIONS && code->sampled >= enough)
        make_better(code);
    struct code *better = code->better;
    if (!better)
        return code;
    pthread_mutex_lock(&code->cache->lock);
    better->users++;
    pthread_mutex_unlock(&code->cache->lock);
    code_release(code);
    return better;
}

uint64_t code_entry(struct code *code, uint64_t pc)
{
    uint64_t offset = pc - code->start;
    if (offset >= code->bytes || pc & 1)
        return 0;
    uint32_t entry = __atomic_load_n(&code->table[offset / 2], __ATOMIC_ACQUIRE);
    if (!entry) {
        pthread_mutex_lock(&code->lock);
        if (!code->enter && !code->full) {
            choose_registers(code, pc);
            code->full = !emit_stubs(code);
        }
        if (!code->table[offset / 2] && !code->full)
            translate_from(code, pc);
        entry = code->table[offset / 2];
        pthread_mutex_unlock(&code->lock);
    }
    return entry ? (uint64_t)(area + entry) : 0;
}

bool code_wants_room(struct code *code)
{
    pthread_mutex_lock(&code->lock);
    bool wants = code->full && code->emitted < code->cache->limit / CACHE_PARTS;
    if (wants)
        code->full = false;
    pthread_mutex_unlock(&code->lock);
    return wants;
}
