/*
 * The main function of a program that is fuzzed: the inputs of a batch lie in the shared memory, and each is given to
 * the program's LLVMFuzzerTestOneInput, in memory of just its size.  `penglai fuzz` makes an instance for each batch.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "eapp.h"

/* Where enclaves find the host's shared memory. */
#define SHARED 0x3900000000UL
#define TOO_MUCH 2

/* penglai.testing.batches has the same.  next: how many have been begun.  Behind it, each input with its size. */
struct batch {
    uint64_t bytes, count;
    volatile uint64_t next;
    unsigned char inputs[];
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

static void give(const unsigned char *input, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        exit(TOO_MUCH);
    memcpy(copy, input, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

int EAPP_ENTRY main(int argc, char **argv)
{
    struct batch *batch = (struct batch *)SHARED;
    uint64_t at = 0, room = batch->bytes, count = batch->count;
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t size;
        if (room - at < sizeof size)
            return TOO_MUCH;
        memcpy(&size, batch->inputs + at, sizeof size);
        at += sizeof size;
        if (room - at < size)
            return TOO_MUCH;
        batch->next = i + 1;
        give(batch->inputs + at, size);
        at += size;
    }
    return 0;
}
