/* The file system that file servers of Penglai-TVM's expect on a disk, and that their block server makes. */
#ifndef PENGLAI_ORIGINAL_H
#define PENGLAI_ORIGINAL_H

#include <stdint.h>

#define ORIGINAL_BLOCKS 1000

/* Moves one block; 0 or -1. */
typedef int original_move(uint32_t block, int writes, uint8_t *data);

/* Makes it, unless it is there; 0 or -1. */
int original_prepare(original_move *move);

#endif
