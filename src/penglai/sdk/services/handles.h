/* Files that enclaves have open. */
#ifndef PENGLAI_HANDLES_H
#define PENGLAI_HANDLES_H

#include <stdint.h>

/* Results below 0 are negative errnos.  A descriptor is its opener's alone. */

/* flags: those of Linux, all of which count. */
int handle_open(unsigned long caller, const char *path, int flags);
int handle_close(unsigned long caller, int descriptor);
int handle_read(unsigned long caller, int descriptor, void *buffer, uint32_t size);
int handle_write(unsigned long caller, int descriptor, const void *buffer, uint32_t size);
int handle_seek(unsigned long caller, int descriptor, int offset, int whence);
int handle_resize(unsigned long caller, int descriptor, uint32_t size);
int handle_size(unsigned long caller, int descriptor);

/* The file of a path is removed. */
void handles_lost(const char *path);

/* A path has a new name, and so have the files below it. */
void handles_renamed(const char *from, const char *to);

/* The request at work is stored; or it is not, and its handle is as it was before. */
void handles_settle(void);
void handles_undo(void);

/* Opens all of them anew, where they were, since the volume was mounted anew. */
void handles_reopen(void);

#endif
