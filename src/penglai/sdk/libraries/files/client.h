/* What the parts of -lfiles share. */
#ifndef PENGLAI_FILES_CLIENT_H
#define PENGLAI_FILES_CLIENT_H

#include <limits.h>
#include "../../lib/fileclient.h"
#include "../../lib/fileserver.h"
#include "../../lib/runtime.h"

struct file {
    int is_open, flags, descriptor; /* -1: a directory */
    unsigned long listed;           /* entries of the directory */
    char path[FILES_PATH];
};

struct region {
    char *start;
    unsigned long size;
};

hidden extern struct file file_table[EAPP_FILES];
hidden extern struct region file_region; /* of most requests */
hidden extern int file_server_knows_more; /* than the original's */

/* Results below zero are negative errnos, everywhere. */

/* Sees to it that a region is there; then that the server is. */
hidden int file_find_region(struct region *region);
hidden int file_find_server(void);

/* A request that is in a region; and one that is to be put into file_region, where the answer is afterwards. */
hidden long file_call(enum files_operation operation, struct region *region);
hidden long file_ask(enum files_operation operation, const void *request, size_t size);

/* Servers of the original's say -1 for everything. */
hidden long file_errno(long result, int otherwise);

/* The path from "/" of one below a directory, whose number may be -1. */
hidden int file_path(char path[FILES_PATH], int directory, const char *given);

hidden long file_look_at(const char *path, struct files_about *about);
hidden long file_send_open(enum files_operation operation, const char *path, int flags);
hidden long file_send_close(long descriptor);

hidden long file_open(int directory, const char *path, int flags);
hidden void file_close(int file);
hidden long file_read(int file, void *buffer, size_t size);
hidden long file_write(int file, void *buffer, size_t size);
hidden long file_seek(int file, long offset, int whence);
hidden long file_resize(int file, long size);
hidden long file_list(int directory, char *buffer, size_t size);

#endif
