/*
 * Where emitted code of a text is put: in pieces of the area, which it has for itself.
 */
#include <stdlib.h>
#include <string.h>
#include "native.h"

#define ALIGNMENT 16

static uint32_t take_pieces(struct code *code, uint32_t bytes)
{
    if (code->emitted + bytes > code->cache->limit / CACHE_PARTS || !cache_take(code->cache, bytes))
        return 0;
    uint32_t start = area_take(bytes);
    if (!start) {
        cache_give(code->cache, bytes);
        return 0;
    }
    code->emitted += bytes;
    pthread_mutex_lock(&code->cache->lock);
    code->cache->area_bytes += bytes;
    pthread_mutex_unlock(&code->cache->lock);
    return start;
}

/* Room for so many bytes in the text's last piece, or in new ones. */
static uint32_t take_room(struct code *code, uint32_t bytes)
{
    bytes = (bytes + ALIGNMENT - 1) & ~(uint32_t)(ALIGNMENT - 1);
    if (code->open_end - code->open < bytes) {
        uint32_t *pieces = realloc(code->pieces, (code->piece_count + 1) * 2 * sizeof *pieces);
        if (!pieces)
            return 0;
        code->pieces = pieces;
        uint32_t rounded = (bytes + PIECE_BYTES - 1) / PIECE_BYTES * PIECE_BYTES,
                 start = take_pieces(code, rounded);
        if (!start)
            return 0;
        pieces[2 * code->piece_count] = start;
        pieces[2 * code->piece_count + 1] = rounded;
        code->piece_count++;
        code->open = start;
        code->open_end = start + rounded;
    }
    uint32_t start = code->open;
    code->open += bytes;
    return start;
}

static bool add_batch(struct code *code, const struct buffer *b, uint32_t start)
{
    struct batch *batch = malloc(sizeof *batch + b->site_count * sizeof batch->sites[0]);
    if (!batch)
        return false;
    batch->next = code->batches;
    batch->start = start;
    batch->end = start + (uint32_t)b->used;
    batch->count = b->site_count;
    for (size_t i = 0; i < b->site_count; i++)
        batch->sites[i] = (struct site){b->sites[i].at + start, b->sites[i].pc};
    atomic_store_explicit(&code->batches, batch, memory_order_release);
    return true;
}

uint32_t code_place(struct code *code, struct buffer *b)
{
    uint32_t start = b->failed || b->used > AREA_BYTES ? 0 : take_room(code, (uint32_t)b->used);
    if (!start || !add_batch(code, b, start))
        return 0;
    for (size_t i = 0; i < b->fixup_count; i++) {
        uint32_t distance = (uint32_t)b->fixups[i].target - (start + b->fixups[i].at + 4);
        memcpy(b->bytes + b->fixups[i].at, &distance, sizeof distance);
    }
    area_write(start, b->bytes, b->used);
    return start;
}
