/* What -lfiles adds to the library: files of the server "filesystem". */
#ifndef PENGLAI_FILECLIENT_H
#define PENGLAI_FILECLIENT_H

#include <stddef.h>
#include <sys/stat.h>

#define EAPP_FILES 32 /* open at once */

/*
 * Files have numbers from 0 up; as a directory below which a path is, -1 is "/".  Results below zero are negative
 * errnos.
 */
struct eapp_files {
    long (*open)(int directory, const char *path, int flags);
    void (*close)(int file);
    int (*flags)(int file); /* with which it was opened */
    long (*read)(int file, void *buffer, size_t size);
    long (*write)(int file, void *buffer, size_t size);
    long (*seek)(int file, long offset, int whence);
    long (*resize)(int file, long size);
    long (*list)(int directory, char *buffer, size_t size); /* struct dirent, as many as there is room for */
    long (*about)(int directory, const char *path, struct stat *about); /* "": of the file itself */
    long (*make_directory)(int directory, const char *path);
    long (*remove)(int directory, const char *path, int is_directory);
    long (*rename)(int directory, const char *path, int new_directory, const char *new_path);
};

/* Not there, unless the program is linked with -lfiles. */
extern const struct eapp_files eapp_files __attribute__((weak, visibility("hidden")));

#endif
