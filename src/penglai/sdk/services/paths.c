#include "paths.h"
#include <errno.h>
#include <string.h>

/* Without its last name. */
static size_t parent(const char *path, size_t length)
{
    while (length && path[--length] != '/')
        ;
    return length;
}

int path_take(char path[FILES_PATH], const char *from)
{
    char given[FILES_PATH + 1];
    size_t length = 0;
    memcpy(given, from, FILES_PATH);
    given[FILES_PATH] = 0;
    if (strlen(given) == FILES_PATH)
        return -ENAMETOOLONG;
    if (!*given)
        return -ENOENT;
    char *rest = given, *name;
    while ((name = strsep(&rest, "/"))) {
        size_t size = strlen(name);
        if (!size || !strcmp(name, "."))
            continue;
        if (!strcmp(name, "..")) {
            length = parent(path, length);
            continue;
        }
        if (length + 1 + size >= FILES_PATH)
            return -ENAMETOOLONG;
        path[length++] = '/';
        memcpy(path + length, name, size);
        length += size;
    }
    if (!length)
        path[length++] = '/';
    path[length] = 0;
    return 0;
}
