/* Paths of requests. */
#ifndef PENGLAI_PATHS_H
#define PENGLAI_PATHS_H

#include "../lib/fileserver.h"

/* Copies a path and gives it the one form that it has: from the root, without "." and "..", "//" and a last "/".
   0, -ENAMETOOLONG without a NUL, -ENOENT for nothing. */
int path_take(char path[FILES_PATH], const char *from);

#endif
