/* How large a file is, and what is said about its content. */
#include <fcntl.h>
#include "linux.h"

long call_ftruncate(word number, word size)
{
    struct file *file = descriptor_file(number);
    if (!file)
        return -EBADF;
    if (file->kind != REGULAR || !file_writes(file) || (long)size < 0)
        return -EINVAL;
    return tree_resize(file->node, size);
}

long call_fallocate(word number, word mode, word offset, word size)
{
    struct file *file = descriptor_file(number);
    if (!file || !file_writes(file))
        return -EBADF;
    if (file->kind != REGULAR)
        return -ENODEV;
    if (mode > 1)
        return -EOPNOTSUPP;
    if ((long)offset < 0 || (long)size <= 0)
        return -EINVAL;
    if (offset + size > FILE_BYTES)
        return -EFBIG;
    return !mode && offset + size > file->node->size ? tree_resize(file->node, offset + size) : 0;
}

long call_fsync(word number)
{
    struct file *file = descriptor_file(number);
    if (!file)
        return -EBADF;
    return file->kind == REGULAR || file->kind == DIRECTORY ? 0 : -EINVAL;
}

#define ADVICE_MOST 5

/* Files are in memory already. */
long call_fadvise(word number, word size, word advice)
{
    struct file *file = descriptor_file(number);
    if (!file || file->flags & O_PATH)
        return -EBADF;
    struct stat about;
    file_describe(file, &about);
    if (S_ISFIFO(about.st_mode))
        return -ESPIPE;
    return (long)size < 0 || advice > ADVICE_MOST ? -EINVAL : 0;
}

long call_truncate(word path, word size)
{
    struct node *node;
    if ((long)size < 0)
        return -EINVAL;
    long error = path_node((word)AT_FDCWD, path, 1, 0, &node);
    if (error)
        return error;
    if (!S_ISREG(node->mode))
        return S_ISDIR(node->mode) ? -EISDIR : -EINVAL;
    return tree_resize(node, size);
}
