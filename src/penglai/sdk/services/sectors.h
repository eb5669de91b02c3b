/* Sectors of the disk, by the block server. */
#ifndef PENGLAI_SECTORS_H
#define PENGLAI_SECTORS_H

#include <stdint.h>

/* One sector of 4096 bytes; 0, or -1 if there is no block server or it refuses. */
int sector_read(uint32_t sector, uint8_t *data);
int sector_write(uint32_t sector, const uint8_t *data);

#endif
