/* The file system of the server: littlefs over the sealed store. */
#ifndef PENGLAI_VOLUME_H
#define PENGLAI_VOLUME_H

#include "lfs.h"

#define VOLUME_CACHE 512 /* bytes, also of each open file */

extern lfs_t volume;

/* Sees to it that it is mounted; 0 or a negative errno.  *fresh: it is so only now, and no file is open in it. */
int volume_ready(int *fresh);

/* What was done counts from now on; 0 or a negative errno. */
int volume_commit(void);

/* The next volume_ready begins with what was committed last. */
void volume_forget(void);

#endif
