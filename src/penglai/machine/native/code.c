/*
 * Translated texts, and the area of memory that may be executed.
 *
 * The area is mapped twice from one file, to be written and to be executed, never both at one address.  A text is
 * identified by all of its bytes and the address that it is at: whoever runs the same has the same code, and the last
 * one takes it along.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "native.h"

#define PIECE_BYTES ((uint32_t)16 << 10)
#define PIECES (AREA_BYTES / PIECE_BYTES)
#define ALIGNMENT 16
#define MISS_BYTES 16

uint8_t *area;
static uint8_t *writable;
static int area_file = -1;
static uint8_t taken[PIECES];
static pthread_mutex_t area_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t area_used;

static struct code *codes;
static pthread_mutex_t codes_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t text_count, text_bytes;

/* ---- the area --------------------------------------------------------------------------------- */

/* At the area's beginning, where the entries that are none lead: the miss of whichever text it was. */
static void write_miss(void)
{
    struct buffer b = {0};
    emit(&b, I_INDIRECT, G_JUMP, in_frame(offsetof(struct frame, miss)));
    if (b.used <= MISS_BYTES)
        memcpy(writable, b.bytes, b.used);
    buffer_free(&b);
    taken[0] = 1;
}

static void make_area(void)
{
    int file = memfd_create("penglai-code", MFD_CLOEXEC);
    if (file < 0)
        return;
    void *to_write = MAP_FAILED, *to_run = MAP_FAILED;
    if (!ftruncate(file, AREA_BYTES)) {
        to_write = mmap(NULL, AREA_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
        to_run = mmap(NULL, AREA_BYTES, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_NORESERVE, file, 0);
    }
    if (to_write == MAP_FAILED || to_run == MAP_FAILED) {
        if (to_write != MAP_FAILED)
            munmap(to_write, AREA_BYTES);
        if (to_run != MAP_FAILED)
            munmap(to_run, AREA_BYTES);
        close(file);
        return;
    }
    area_file = file;
    writable = to_write;
    write_miss();
    area = to_run;
}

bool area_ready(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_area);
    return area != NULL;
}

/* So many bytes' pieces in a row: where they begin, or 0. */
static uint32_t take_pieces(uint32_t bytes)
{
    uint32_t wanted = (bytes + PIECE_BYTES - 1) / PIECE_BYTES, found = 0;
    static uint32_t hint = 1;
    pthread_mutex_lock(&area_lock);
    for (uint32_t pass = 0; pass < 2 && found < wanted; pass++) {
        found = 0;
        for (uint32_t piece = pass ? 1 : hint; piece < PIECES && found < wanted; piece++) {
            found = taken[piece] ? 0 : found + 1;
            hint = piece + 1;
        }
    }
    uint32_t first = hint - wanted;
    if (found == wanted) {
        memset(taken + first, 1, wanted);
        area_used += (uint64_t)wanted * PIECE_BYTES;
    }
    pthread_mutex_unlock(&area_lock);
    return found == wanted ? first * PIECE_BYTES : 0;
}

static void give_pieces(uint32_t start, uint32_t bytes)
{
    fallocate(area_file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, start, bytes);
    pthread_mutex_lock(&area_lock);
    memset(taken + start / PIECE_BYTES, 0, bytes / PIECE_BYTES);
    area_used -= bytes;
    pthread_mutex_unlock(&area_lock);
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
                 start = take_pieces(rounded);
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
    memcpy(writable + start, b->bytes, b->used);
    return start;
}

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

static void free_code(struct code *code)
{
    for (size_t i = 0; i < code->piece_count; i++)
        give_pieces(code->pieces[2 * i], code->pieces[2 * i + 1]);
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
static struct code *make_code(uint64_t start, const uint8_t *text, uint64_t bytes, bool floats)
{
    struct code *code = calloc(1, sizeof *code);
    if (!code)
        return NULL;
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

/* The caller holds the lock. */
static void add_code(struct code *code)
{
    code->next = codes;
    codes = code;
    text_count++;
    text_bytes += code->bytes;
}

struct code *code_take(uint64_t start, const uint8_t *text, uint64_t bytes, bool floats)
{
    uint64_t hash = hash_of(text, bytes);
    pthread_mutex_lock(&codes_lock);
    struct code *code = codes;
    while (code && !(code->hash == hash && code->start == start && code->bytes == bytes &&
                     code->floats == floats && !code->better))
        code = code->next;
    if (code)
        code->users++;
    pthread_mutex_unlock(&codes_lock);
    if (code && !memcmp(code->text, text, bytes))
        return code;
    if (code) { /* other bytes of the same hash: somebody has made them so, and runs elsewhere */
        code_release(code);
        return NULL;
    }
    code = make_code(start, text, bytes, floats);
    if (!code)
        return NULL;
    code->hash = hash;
    pthread_mutex_lock(&codes_lock);
    add_code(code);
    pthread_mutex_unlock(&codes_lock);
    return code;
}

void code_release(struct code *code)
{
    pthread_mutex_lock(&codes_lock);
    bool last = --code->users == 0;
    if (last) {
        struct code **link = &codes;
        while (*link != code)
            link = &(*link)->next;
        *link = code->next;
        text_count--;
        text_bytes -= code->bytes;
    }
    pthread_mutex_unlock(&codes_lock);
    if (!last)
        return;
    struct code *better = code->better;
    free_code(code);
    if (better)
        code_release(better);
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
    struct code *better = make_code(code->start, code->text, code->bytes, code->floats);
    if (!better)
        return;
    better->hash = code->hash;
    better->generation = code->generation + 1;
    for (uint64_t half = 0; half < code->bytes / 2; half++)
        if (code->samples[half])
            better->samples[half] = code->samples[half];
    pthread_mutex_lock(&codes_lock);
    struct code *none = NULL;
    bool first = atomic_compare_exchange_strong(&code->better, &none, better);
    if (first)
        add_code(better);
    pthread_mutex_unlock(&codes_lock);
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
    pthread_mutex_lock(&codes_lock);
    better->users++;
    pthread_mutex_unlock(&codes_lock);
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

struct code_sizes code_sizes(void)
{
    pthread_mutex_lock(&codes_lock);
    struct code_sizes sizes = {.texts = text_count, .text_bytes = text_bytes};
    pthread_mutex_unlock(&codes_lock);
    pthread_mutex_lock(&area_lock);
    sizes.area_bytes = area_used;
    pthread_mutex_unlock(&area_lock);
    return sizes;
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
 * Of all texts: what was emitted, from where to where; the entries, where they are and for which pc; and the area
 * itself.  Each as pairs of words; returns how many words there are, of which `room` are written.
 */
EXPORT uint64_t native_emitted(uint64_t *out, uint64_t room)
{
    uint64_t count = 0;
    pthread_mutex_lock(&codes_lock);
    for (struct code *code = codes; code; code = code->next)
        for (const struct batch *b = code->batches; b; b = b->next)
            tell(out, room, &count, (uint64_t)(area + b->start), (uint64_t)(area + b->end));
    pthread_mutex_unlock(&codes_lock);
    return count;
}

EXPORT uint64_t native_entries(uint64_t *out, uint64_t room)
{
    uint64_t count = 0;
    pthread_mutex_lock(&codes_lock);
    for (struct code *code = codes; code; code = code->next)
        for (uint64_t half = 0; half < code->bytes / 2; half++)
            if (code->table[half])
                tell(out, room, &count, (uint64_t)(area + code->table[half]), code->start + 2 * half);
    pthread_mutex_unlock(&codes_lock);
    return count;
}
