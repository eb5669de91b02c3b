/* Directories: what they have in them, and the current one. */
#include <fcntl.h>
#include "linux.h"

struct entry_out {
    word number, offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

#define ENTRY_HEAD 19

static unsigned char type_of(const struct node *node)
{
    return (unsigned char)(node->mode >> 12);
}

static int put_entry(word *at, word *left, const struct node *node, word cookie, const char *name,
                     size_t length)
{
    word size = (ENTRY_HEAD + length + 1 + 7) & -8UL;
    if (size > *left)
        return 0;
    struct entry_out *out = memset((void *)*at, 0, size);
    out->number = node->number;
    out->offset = cookie;
    out->length = (unsigned short)size;
    out->type = type_of(node);
    memcpy((char *)out + ENTRY_HEAD, name, length);
    *at += size;
    *left -= size;
    return 1;
}

/* Puts an entry that was not there yet; 0 if there is no room. */
static int list(struct file *file, word *at, word *left, const struct node *node, word cookie,
                const char *name, size_t length)
{
    if (file->offset >= cookie)
        return 1;
    if (!put_entry(at, left, node, cookie, name, length))
        return 0;
    file->offset = cookie;
    return 1;
}

long call_getdents(word number, word buffer, word size)
{
    struct file *file = descriptor_file(number);
    if (!file)
        return -EBADF;
    if (file->kind != DIRECTORY)
        return -ENOTDIR;
    size = size < 16 * PAGE ? size : 16 * PAGE;
    if (memory_reach(buffer, size, 1))
        return -EFAULT;
    const struct node *node = file->node;
    if (!node->links)
        return -ENOENT;
    if (node->hosts && !file->offset) {
        long error = mount_list(file->node);
        if (error)
            return error;
    }
    word at = buffer, left = size;
    int fits = list(file, &at, &left, node, 1, ".", 1) && list(file, &at, &left, node->parent, 2, "..", 2);
    for (struct entry *entry = node->first; fits && entry; entry = entry->next)
        fits = list(file, &at, &left, entry->node, entry->cookie, entry->name, entry->length);
    return fits || left != size ? (long)(size - left) : -EINVAL;
}

/* ---- the current directory ---- */

static long set_current(struct node *node)
{
    if (!S_ISDIR(node->mode))
        return -ENOTDIR;
    node->uses++;
    tree_current->uses--;
    tree_drop(tree_current);
    tree_current = node;
    return 0;
}

long call_chdir(word path)
{
    struct node *node;
    long error = path_node((word)AT_FDCWD, path, 1, 0, &node);
    return error ? error : set_current(node);
}

long call_fchdir(word number)
{
    struct file *file = descriptor_file(number);
    if (!file)
        return -EBADF;
    return file->node ? set_current(file->node) : -ENOTDIR;
}

long call_getcwd(word out, word size)
{
    char text[PATH_BYTES];
    long length = tree_path(tree_current, text, sizeof text);
    if (length < 0)
        return length;
    if ((word)length + 1 > size)
        return -ERANGE;
    if (memory_reach(out, (word)length + 1, 1))
        return -EFAULT;
    memcpy((void *)out, text, (size_t)length);
    ((char *)out)[length] = 0;
    return length + 1;
}
