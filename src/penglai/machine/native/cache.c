/* How much the texts of a machine may take; and what there is, for those who look. */
#include <stdlib.h>
#include "native.h"

struct cache *cache_open(uint64_t limit)
{
    struct cache *cache = calloc(1, sizeof *cache);
    if (!cache)
        return NULL;
    pthread_mutex_init(&cache->lock, NULL);
    cache->limit = limit;
    cache->users = 1;
    return cache;
}

void cache_share(struct cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    cache->users++;
    pthread_mutex_unlock(&cache->lock);
}

void cache_close(struct cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    bool last = --cache->users == 0;
    pthread_mutex_unlock(&cache->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

bool cache_take(struct cache *cache, uint64_t bytes)
{
    pthread_mutex_lock(&cache->lock);
    bool room = bytes <= cache->limit - cache->used;
    cache->used += room ? bytes : 0;
    pthread_mutex_unlock(&cache->lock);
    return room;
}

void cache_give(struct cache *cache, uint64_t bytes)
{
    pthread_mutex_lock(&cache->lock);
    cache->used -= bytes;
    pthread_mutex_unlock(&cache->lock);
}

/* ---- what Python calls ------------------------------------------------------------------------ */

EXPORT struct cache *native_cache(uint64_t limit)
{
    return cache_open(limit);
}

EXPORT void native_cache_close(struct cache *cache)
{
    cache_close(cache);
}

/* Counts, for people: texts, their bytes, bytes that were emitted, and what all of it takes. */
EXPORT void native_cache_counts(struct cache *cache, uint64_t out[4])
{
    pthread_mutex_lock(&cache->lock);
    out[0] = cache->texts;
    out[1] = cache->text_bytes;
    out[2] = cache->area_bytes;
    out[3] = cache->used;
    pthread_mutex_unlock(&cache->lock);
}

/* ---- for those who examine what was emitted --------------------------------------------------- */

static void tell(uint64_t *out, uint64_t room, uint64_t *count, uint64_t first, uint64_t second)
{
    if (*count + 2 <= room) {
        out[*count] = first;
        out[*count + 1] = second;
    }
    *count += 2;
}

/*
 * Of all texts of a machine: what was emitted, from where to where; the entries, where they are and for which pc; and the area
 * itself.  Each as pairs of words; returns how many words there are, of which `room` are written.
 */
EXPORT uint64_t native_emitted(struct cache *cache, uint64_t *out, uint64_t room)
{
    uint64_t count = 0;
    pthread_mutex_lock(&cache->lock);
    for (struct code *code = cache->codes; code; code = code->next)
        for (const struct batch *b = code->batches; b; b = b->next)
            tell(out, room, &count, (uint64_t)(area + b->start), (uint64_t)(area + b->end));
    pthread_mutex_unlock(&cache->lock);
    return count;
}

EXPORT uint64_t native_entries(struct cache *cache, uint64_t *out, uint64_t room)
{
    uint64_t count = 0;
    pthread_mutex_lock(&cache->lock);
    for (struct code *code = cache->codes; code; code = code->next)
        for (uint64_t half = 0; half < code->bytes / 2; half++)
            if (code->table[half])
                tell(out, room, &count, (uint64_t)(area + code->table[half]), code->start + 2 * half);
    pthread_mutex_unlock(&cache->lock);
    return count;
}
