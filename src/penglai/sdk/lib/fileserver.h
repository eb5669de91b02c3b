/*
 * The protocol of file servers: requests of the server "filesystem".  req_arg has the operation, one region of at
 * least a page what it is about and then what is answered, and resp_val the result.  All numbers are 32 bits.
 *
 * Operations up to 9 are those of Penglai-TVM's.  What comes from 32 on is ours: a client asks for OP_HELLO
 * first, and a server that knows the rest has answered with FILES_GREETING.  Results below zero are negative errnos.
 */
#ifndef PENGLAI_FILESERVER_H
#define PENGLAI_FILESERVER_H

#include <stdint.h>

#define FILES_SERVER "filesystem"
#define FILES_REGION 4096 /* the least that a request has */
#define FILES_PATH 128    /* with its NUL */
#define FILES_GREETING "penglai files 1"
#define FILES_FIRST 3 /* the lowest descriptor */

enum files_operation {
    OP_OPEN = 0,     /* path, then flags as Linux has them; EXCL and TRUNC do nothing.  A descriptor */
    OP_CLOSE = 1,    /* descriptor */
    OP_READ = 2,     /* descriptor, size.  The number of bytes, which are at the start of the region */
    OP_WRITE = 3,    /* descriptor, size, data.  The number of bytes */
    OP_STAT = 4,     /* descriptor or -1, path.  The size of the file; 0 if there is none */
    OP_SEEK = 5,     /* descriptor, offset, whence.  The new offset */
    OP_FLUSH = 6,    /* nothing to do */
    OP_TRUNCATE = 7, /* descriptor: to size 0 */
    OP_UNLINK = 8,   /* path, of a file or an empty directory */
    OP_MKDIR = 9,    /* path */

    OP_HELLO = 32,       /* FILES_GREETING comes back */
    OP_OPEN_EXACTLY = 33, /* as OP_OPEN, with all flags */
    OP_ABOUT = 34,       /* as OP_STAT, answered by struct files_about; a negative errno if there is none */
    OP_LIST = 35, /* struct files_list.  How many struct files_entry there are in the region; 0: no more */
    OP_RENAME = 36, /* path, path */
    OP_RESIZE = 37, /* descriptor, size */
    OP_REMOVE = 38, /* path, then 0 for a file or 1 for a directory */
};

struct files_open {
    char path[FILES_PATH];
    int32_t flags;
};

struct files_transfer {
    int32_t descriptor, size;
    char data[];
};

struct files_stat {
    int32_t descriptor;
    char path[FILES_PATH];
};

struct files_seek {
    int32_t descriptor, offset, whence;
};

struct files_about {
    int32_t is_directory;
    uint32_t size;
};

struct files_list {
    uint32_t skipped; /* how many entries of the directory, "." and ".." among them, are not wanted again */
    char path[FILES_PATH];
};

struct files_entry {
    int32_t is_directory;
    char name[FILES_PATH];
};

struct files_rename {
    char from[FILES_PATH], to[FILES_PATH];
};

struct files_remove {
    char path[FILES_PATH];
    int32_t is_directory;
};

#endif
