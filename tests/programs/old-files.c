/*
 * A file server as Penglai-TVM's is, in memory: of its operations alone, with -1 for whatever it cannot do, and with
 * noise as the result of what it does not know.
 */
#include <string.h>
#include "eapp.h"

#define FILES 16
#define OPEN 16
#define ROOM 200000
#define PATH 128

static struct file {
    int exists, is_directory, size;
    char path[PATH], data[ROOM];
} files[FILES];

static struct {
    int is_open, flags, offset;
    struct file *file;
} handles[OPEN];

static struct file *find(const char *path)
{
    for (int i = 0; i < FILES; i++)
        if (files[i].exists && !strcmp(files[i].path, path))
            return &files[i];
    return NULL;
}

static struct file *make(const char *path, int is_directory)
{
    char parent[PATH];
    strcpy(parent, path);
    *strrchr(parent, '/') = 0;
    struct file *above = find(parent);
    for (int i = 0; (!*parent || (above && above->is_directory)) && i < FILES; i++)
        if (!files[i].exists) {
            files[i].exists = 1;
            files[i].is_directory = is_directory;
            files[i].size = 0;
            strcpy(files[i].path, path);
            return &files[i];
        }
    return NULL;
}

static long open_file(const char *path, int flags)
{
    struct file *file = find(path);
    if (!file && flags & 0x40)
        file = make(path, 0);
    for (int i = 0; file && i < OPEN; i++)
        if (!handles[i].is_open) {
            handles[i].is_open = 1;
            handles[i].flags = flags;
            handles[i].offset = flags & 0x400 ? file->size : 0;
            handles[i].file = file;
            return i + 3;
        }
    return -1;
}

static long transfer(int handle, int size, char *region, int writes)
{
    struct file *file = handles[handle].file;
    int mode = handles[handle].flags & 3, offset = handles[handle].offset;
    if (mode == !writes || (mode == 2 && offset > file->size) || offset + size > ROOM)
        return -1;
    if (writes) {
        memcpy(file->data + offset, region + 8, (size_t)size);
        file->size = offset + size > file->size ? offset + size : file->size;
    } else {
        size = offset + size > file->size ? file->size - offset : size;
        memcpy(region, file->data + offset, (size_t)size);
    }
    handles[handle].offset += size;
    return size;
}

static long seek(int handle, const int *fields)
{
    long offset = fields[1] + (fields[2] == 1   ? handles[handle].offset
                               : fields[2] == 2 ? handles[handle].file->size
                                                : 0);
    return offset < 0 ? -1 : (handles[handle].offset = (int)offset);
}

static long serve_handle(unsigned long operation, char *region)
{
    const int *fields = (const int *)region;
    int handle = fields[0] - 3;
    if (handle < 0 || handle >= OPEN || !handles[handle].is_open)
        return -1;
    if (operation == 1)
        return handles[handle].is_open = 0;
    if (operation == 5)
        return seek(handle, fields);
    if (operation == 7)
        return handles[handle].file->size = 0;
    return transfer(handle, fields[1], region, operation == 3);
}

static long serve_path(unsigned long operation, char *region)
{
    struct file *file = find(operation == 4 ? region + 4 : region);
    switch (operation) {
    case 0:
        return open_file(region, *(int *)(region + PATH));
    case 4:
        return file ? file->size : 0;
    case 8:
        return file ? file->exists = 0 : -1;
    default:
        return file || !make(region, 1) ? -1 : 0;
    }
}

int EAPP_ENTRY main(void)
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    char *region = (char *)args[11];
    long result = 0x123456789;
    if (args[10] == 0 || args[10] == 4 || args[10] == 8 || args[10] == 9)
        result = serve_path(args[10], region);
    else if (args[10] < 8 && args[10] != 6)
        result = serve_handle(args[10], region);
    struct call_enclave_arg_t answer = {.resp_val = (unsigned long)result};
    SERVER_RETURN(&answer);
}
