/* Calls that name files: opening, making, removing, renaming. */
#include <fcntl.h>
#include <unistd.h>
#include "linux.h"

#define NO_REPLACE 1            /* of renameat2 */
#define EXCHANGE 2

/* The directory that a path begins in. */
static long start_of(word from, struct node **start)
{
    struct file *file = descriptor_file(from);
    if ((int)from == AT_FDCWD) {
        *start = tree_current;
        return 0;
    }
    if (!file)
        return -EBADF;
    *start = file->node;
    return file->kind == DIRECTORY ? 0 : -ENOTDIR;
}

long path_find(word from, word path, int follows, int empty, struct place *place)
{
    char text[PATH_BYTES];
    struct node *start;
    long length = empty && !path ? 0 : memory_text(text, path, sizeof text);
    if (length < 0)
        return length;
    if (!length && empty) {
        struct file *file = descriptor_file(from);
        if ((int)from == AT_FDCWD) {
            *place = (struct place){.node = tree_current};
            return 0;
        }
        if (!file)
            return -EBADF;
        *place = (struct place){.node = file->node};
        return 0;
    }
    if (!length)
        return -ENOENT;
    long error = *text == '/' ? 0 : start_of(from, &start);
    return error ? error : tree_walk(*text == '/' ? tree_root : start, text, follows, place);
}

/* The second path of a call: what the first one has found stays where it is. */
static long find_second(word from, word path, struct place *place)
{
    mount_pinned = 1;
    long error = path_find(from, path, 0, 0, place);
    mount_pinned = 0;
    return error;
}

long path_node(word from, word path, int follows, int empty, struct node **node)
{
    struct place place;
    long error = path_find(from, path, follows, empty, &place);
    if (!error && !place.node)
        error = -ENOENT;
    *node = error ? NULL : place.node;
    return error;
}

/* ---- opening ---- */

static enum kind kind_of(const struct node *node)
{
    static const enum kind devices[] = {[IS_NULL] = NULL_DEVICE,
                                        [IS_ZERO] = ZERO_DEVICE,
                                        [IS_FULL] = FULL_DEVICE,
                                        [IS_RANDOM] = RANDOM_DEVICE};
    if (S_ISDIR(node->mode))
        return DIRECTORY;
    return S_ISCHR(node->mode) ? devices[node->device] : REGULAR;
}

static long check_open(const struct place *place, word flags)
{
    const struct node *node = place->node;
    int writes = (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC;
    if (flags & O_CREAT && flags & O_EXCL)
        return -EEXIST;
    if (S_ISLNK(node->mode) && !(flags & O_PATH))
        return -ELOOP;
    if (flags & O_DIRECTORY && !S_ISDIR(node->mode))
        return -ENOTDIR;
    if (S_ISSOCK(node->mode) && !(flags & O_PATH))
        return -ENXIO;
    if (S_ISDIR(node->mode) && (writes || flags & O_CREAT) && !(flags & O_PATH))
        return -EISDIR;
    return 0;
}

static long open_node(struct node *node, word flags)
{
    if (node->device >= IS_STDIN && node->device <= IS_STDERR)
        return call_dup(node->device - IS_STDIN);
    long error = node->hosts && S_ISREG(node->mode) && !(flags & O_PATH) ? mount_open(node) : 0;
    if (error)
        return error;
    struct node *content = node->device > IS_STDERR && !(flags & O_PATH) ? proc_make(node) : node;
    struct file *file =
        content ? file_new(kind_of(content), (int)flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_CLOEXEC)) : NULL;
    if (!file)
        return -ENOMEM;
    file->node = content;
    content->uses++;
    if (flags & O_TRUNC && file->kind == REGULAR && !(flags & O_PATH))
        tree_resize(content, 0);
    long number = descriptor_new(file, 0, !!(flags & O_CLOEXEC));
    if (number < 0)
        file_release(file);
    return number;
}

long call_openat(word from, word path, word flags, word mode)
{
    struct place place;
    if ((flags & O_TMPFILE) == O_TMPFILE)
        return -EOPNOTSUPP;
    int follows = !(flags & O_NOFOLLOW) && !(flags & O_CREAT && flags & O_EXCL);
    long error = path_find(from, path, follows, 0, &place);
    if (error)
        return error;
    if (place.node) {
        error = check_open(&place, flags);
        return error ? error : open_node(place.node, flags);
    }
    if (!(flags & O_CREAT) || flags & O_PATH)
        return -ENOENT;
    if (place.slash)
        return -EISDIR;
    if (!place.directory->links)
        return -ENOENT;
    error = mount_make(place.directory, place.name, place.length, 0);
    if (error)
        return error;
    struct node *node =
        tree_add(place.directory, place.name, place.length, S_IFREG | ((unsigned)mode & 07777 & ~tree_umask));
    return node ? open_node(node, flags) : -ENOSPC;
}

long call_readlinkat(word from, word path, word out, word size)
{
    struct node *node;
    if (!size || (int)size < 0)
        return -EINVAL;
    long error = path_node(from, path, 0, 1, &node);
    if (error)
        return error;
    if (!node || !S_ISLNK(node->mode))
        return -EINVAL;
    size = node->size < size ? node->size : size;
    if (memory_reach(out, size, 1))
        return -EFAULT;
    memcpy((void *)out, node->data, size);
    return (long)size;
}

#define MEMORY_NAME 249
#define MEMORY_FLAGS 0x1f

/* A file without a name. */
long call_memfd(word name, word flags)
{
    char text[MEMORY_NAME + 1];
    long length = memory_text(text, name, sizeof text);
    if (flags & ~(word)MEMORY_FLAGS || length == -ENAMETOOLONG)
        return -EINVAL;
    if (length < 0)
        return length;
    struct node *node = tree_add(NULL, NULL, 0, S_IFREG | 0777);
    long number = node ? open_node(node, O_RDWR | (flags & 1 ? O_CLOEXEC : 0)) : -ENOMEM;
    if (node)
        tree_drop(node);
    return number;
}

/* ---- making and removing ---- */

static long check_new(long error, const struct place *place)
{
    if (error)
        return error;
    if (place->node || !place->directory)
        return -EEXIST;
    return place->directory->links ? 0 : -ENOENT;
}

static long place_for_new(word from, word path, struct place *place)
{
    return check_new(path_find(from, path, 0, 0, place), place);
}

long call_mkdirat(word from, word path, word mode)
{
    struct place place;
    long error = place_for_new(from, path, &place);
    if (error)
        return error;
    error = mount_make(place.directory, place.name, place.length, 1);
    if (error)
        return error;
    unsigned kept = (unsigned)mode & 01777 & ~tree_umask;
    return tree_add(place.directory, place.name, place.length, S_IFDIR | kept) ? 0 : -ENOSPC;
}

long call_mknodat(word from, word path, word mode, word device)
{
    struct place place;
    (void)device;
    if ((mode & S_IFMT) && !S_ISREG(mode))
        return -EPERM;
    long error = place_for_new(from, path, &place);
    if (error)
        return error;
    error = mount_make(place.directory, place.name, place.length, 0);
    if (error)
        return error;
    unsigned kept = S_IFREG | ((unsigned)mode & 07777 & ~tree_umask);
    return tree_add(place.directory, place.name, place.length, kept) ? 0 : -ENOSPC;
}

static int is_mount_point(const struct node *node)
{
    return node->hosts && !node->parent->hosts;
}

long call_unlinkat(word from, word path, word flags)
{
    struct place place;
    int directory = !!(flags & AT_REMOVEDIR);
    if (flags & ~(word)AT_REMOVEDIR)
        return -EINVAL;
    long error = path_find(from, path, -1, 0, &place);
    if (error)
        return error;
    if (!place.node)
        return -ENOENT;
    if (S_ISDIR(place.node->mode) != directory)
        return directory ? -ENOTDIR : -EISDIR;
    if (!directory && place.slash)
        return -ENOTDIR;
    if (!place.directory)
        return place.node == tree_root ? -EBUSY : place.up ? -ENOTEMPTY : -EINVAL;
    if (place.node->first && !place.node->hosts)
        return -ENOTEMPTY;
    if (is_mount_point(place.node))
        return -EBUSY;
    error = mount_remove(place.directory, place.name, place.length, directory);
    if (error)
        return error;
    tree_remove(place.directory, place.entry);
    return 0;
}

static int is_inside(const struct node *node, const struct node *directory)
{
    while (node != tree_root && node != directory)
        node = node->parent;
    return node == directory;
}

static long check_replacing(const struct place *old, const struct place *new)
{
    if (!new->node)
        return 0;
    int directory = S_ISDIR(old->node->mode);
    if (S_ISDIR(new->node->mode) != directory)
        return directory ? -ENOTDIR : -EISDIR;
    return new->node->first ? -ENOTEMPTY : 0;
}

long call_renameat2(word from, word path, word to, word new_path, word flags)
{
    struct place old, new;
    if (flags & ~(word)NO_REPLACE)
        return -EINVAL;
    long error = path_find(from, path, 0, 0, &old);
    if (!error)
        error = find_second(to, new_path, &new);
    if (error)
        return error;
    if (!old.node)
        return -ENOENT;
    if (!old.directory || !new.directory)
        return -EBUSY;
    if (new.node && flags & NO_REPLACE)
        return -EEXIST;
    if (new.node == old.node)
        return 0;
    if (S_ISDIR(old.node->mode) && is_inside(new.directory, old.node))
        return -EINVAL;
    if (new.slash && !S_ISDIR(old.node->mode))
        return -ENOTDIR;
    error = check_replacing(&old, &new);
    if (!error)
        error = is_mount_point(old.node) ? -EBUSY : mount_rename(&old, &new);
    if (error)
        return error;
    struct node *node = old.node;
    node->uses++;
    if (new.entry)
        tree_remove(new.directory, new.entry);
    error = tree_enter(new.directory, new.name, new.length, node);
    if (!error && S_ISDIR(node->mode))
        node->links++; /* removing a directory takes the link of its own . too */
    if (!error)
        tree_remove(old.directory, old.entry);
    node->uses--;
    tree_drop(node);
    return error;
}

long call_linkat(word from, word path, word to, word new_path, word flags)
{
    struct node *node;
    struct place new;
    if (flags & ~(word)(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    long error = path_node(from, path, !!(flags & AT_SYMLINK_FOLLOW), !!(flags & AT_EMPTY_PATH), &node);
    if (!error)
        error = check_new(find_second(to, new_path, &new), &new);
    if (error)
        return error;
    if (!node || S_ISDIR(node->mode) || node->hosts || new.directory->hosts)
        return -EPERM;
    return tree_enter(new.directory, new.name, new.length, node);
}

long call_symlinkat(word target, word from, word path)
{
    char text[PATH_BYTES];
    struct place place;
    long length = memory_text(text, target, sizeof text);
    if (length <= 0)
        return length ? length : -ENOENT;
    long error = place_for_new(from, path, &place);
    if (error)
        return error;
    if (place.directory->hosts)
        return -EPERM;
    struct node *node = tree_add(place.directory, place.name, place.length, S_IFLNK | 0777);
    if (!node)
        return -ENOSPC;
    error = tree_write(node, text, (word)length, 0);
    return error < 0 ? error : 0;
}
