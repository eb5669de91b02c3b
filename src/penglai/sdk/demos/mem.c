/* Memory: malloc, eapp_mmap and the heap of sbrk, side by side. */
#include <stdlib.h>
#include <string.h>
#include "eapp.h"
#include "print.h"

#define BLOCKS 64
#define BLOCK_SIZE 10000
#define MAPPED_SIZE (16 * EAPP_PAGE_SIZE)

static int all(const char *bytes, char value, unsigned long size)
{
    for (unsigned long i = 0; i < size; i++)
        if (bytes[i] != value)
            return 0;
    return 1;
}

int EAPP_ENTRY main(void)
{
    char *blocks[BLOCKS];
    int good = 1;

    char *mapped = eapp_mmap(NULL, MAPPED_SIZE);
    if (mapped == (char *)-1)
        EAPP_RETURN(1);
    good &= all(mapped, 0, MAPPED_SIZE);
    memset(mapped, 1, MAPPED_SIZE);

    char *heap = sbrk(0);
    if (sbrk(MAPPED_SIZE) == (void *)-1)
        EAPP_RETURN(2);
    memset(heap, 2, MAPPED_SIZE);

    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(BLOCK_SIZE);
        if (!blocks[i])
            EAPP_RETURN(3);
        memset(blocks[i], 3 + i, BLOCK_SIZE);
    }
    good &= all(mapped, 1, MAPPED_SIZE) && all(heap, 2, MAPPED_SIZE);
    for (int i = 0; i < BLOCKS; i++) {
        good &= all(blocks[i], (char)(3 + i), BLOCK_SIZE);
        free(blocks[i]);
    }
    sbrk(-(long)MAPPED_SIZE);
    good &= eapp_unmap(mapped, MAPPED_SIZE) == 0;
    eapp_print("mem: %s\n", good ? "every byte was as it should be" : "something was overwritten");
    EAPP_RETURN(good ? 0 : 4);
}
