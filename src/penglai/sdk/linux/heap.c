/* Small pieces of memory for the personality itself: powers of two, each from a list of free ones. */
#include "linux.h"

#define SMALLEST 32
#define CLASSES 7 /* up to 2 KiB; what is larger is whole pages */
#define CHUNK (16 * PAGE)

static struct piece {
    struct piece *next;
} *lists[CLASSES];
static word chunk, left;

static int class_of(size_t size)
{
    int class = 0;
    while ((size_t)SMALLEST << class < size)
        class++;
    return class;
}

/* Zeroed; NULL if there is no memory. */
void *heap_new(size_t size)
{
    int class = class_of(size);
    if (class >= CLASSES)
        return (void *)memory_take(size);
    size_t bytes = (size_t)SMALLEST << class;
    struct piece *piece = lists[class];
    if (piece) {
        lists[class] = piece->next;
    } else {
        if (left < bytes) {
            word more = memory_take(CHUNK);
            if (!more)
                return NULL;
            chunk = more;
            left = CHUNK;
        }
        piece = (struct piece *)chunk;
        chunk += bytes;
        left -= bytes;
    }
    return memset(piece, 0, bytes);
}

void heap_free(void *piece, size_t size)
{
    int class = class_of(size);
    if (class >= CLASSES) {
        memory_give((word)piece, size);
        return;
    }
    ((struct piece *)piece)->next = lists[class];
    lists[class] = piece;
}
