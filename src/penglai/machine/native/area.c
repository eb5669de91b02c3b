/*
 * The memory that may be executed, of all machines of the process.  It is mapped twice from one file, to be written and
 * to be executed, never both at one address, and is given out in pieces.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "native.h"

#define PIECES (AREA_BYTES / PIECE_BYTES)
#define MISS_BYTES 16

uint8_t *area;
static uint8_t *writable;
static int area_file = -1;
static uint8_t taken[PIECES];
static pthread_mutex_t area_lock = PTHREAD_MUTEX_INITIALIZER;

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

uint32_t area_take(uint32_t bytes)
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
    if (found == wanted)
        memset(taken + first, 1, wanted);
    pthread_mutex_unlock(&area_lock);
    return found == wanted ? first * PIECE_BYTES : 0;
}

void area_give(uint32_t start, uint32_t bytes)
{
    fallocate(area_file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, start, bytes);
    pthread_mutex_lock(&area_lock);
    memset(taken + start / PIECE_BYTES, 0, bytes / PIECE_BYTES);
    pthread_mutex_unlock(&area_lock);
}

void area_write(uint32_t start, const void *bytes, size_t count)
{
    memcpy(writable + start, bytes, count);
}
