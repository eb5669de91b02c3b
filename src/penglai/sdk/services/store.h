/*
 * Blocks on a disk that the host keeps, sealed.  What is written counts from store_commit on, all of it or none:
 * after a crash the store is as the last commit has left it.
 */
#ifndef PENGLAI_STORE_H
#define PENGLAI_STORE_H

#include <stddef.h>
#include <stdint.h>

#define STORE_BLOCKS 4096 /* of 4096 bytes */

/* Results below 0. */
#define STORE_UNREACHABLE (-1) /* there is no block server, or it refuses */
#define STORE_CHANGED (-2) /* somebody else has changed what was stored, and the server stops for good */

/* Begins with what the last commit has left, and forgets all else; 1: nothing was ever committed. */
int store_open(void);

/* A part of a block; what was never written is zeros.  0, or a result below. */
int store_read(uint32_t block, uint32_t offset, void *buffer, size_t size);
int store_write(uint32_t block, uint32_t offset, const void *buffer, size_t size);

int store_commit(void);

#endif
