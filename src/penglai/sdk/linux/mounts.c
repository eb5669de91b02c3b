/*
 * Directories of the host's, plain and not trusted.
 *
 * A node of this tree stands for each name that was met.  Names, kinds and sizes are asked for at each look-up; a file's
 * content is fetched when it is opened, so that what the host changes meanwhile changes nothing here, and what is
 * written goes to the host at once.  Everything that comes back is checked: names are one name each, kinds are two,
 * sizes have a limit, results are errors that there are.
 *
 * A question has the path at the start of the kernel buffer, and what belongs to it from SECOND on.
 */
#include "linux.h"

#define SECOND 1024UL
#define PIECE (PAGE - SECOND)
#define NAMES_MOST 65536
#define NAME_MOST 255

struct about {
    word kind, size, seconds, nanoseconds; /* kind: 1 file, 2 directory */
};

/* Who has the files below a mount point: the host, or the file server, which protects them. */

static char exchange[PAGE]; /* with the file server, instead of the kernel buffer */
static int is_protected;    /* what put_path has put a path for */

static void give(word at, const char *from, word size)
{
    if (is_protected)
        memcpy(exchange + at, from, size);
    else
        monitor_give(at, from, size);
}

static void take(char *to, word size)
{
    if (is_protected)
        memcpy(to, exchange, size);
    else
        monitor_take(to, size);
}

/* 0 or more, or an error that there is: whoever answers can say anything. */
static long asked(word question, word argument)
{
    long answer =
        is_protected ? protected_ask(question, argument, exchange) : monitor_ask(question, argument);
    if (answer < -LAST_ERROR || answer > (long)PAGE)
        return -EIO;
    return answer;
}

static long done(word question, word argument)
{
    long answer = asked(question, argument);
    return answer < 0 ? answer : answer == 1 ? 0 : -EIO;
}

/* The file server has its own root, the host knows the mount points. */
static word length_of_mount(const struct node *directory)
{
    char path[SECOND];
    while (directory->parent->hosts)
        directory = directory->parent;
    long length = directory->hosts == PROTECTED ? tree_path(directory, path, sizeof path) : 0;
    return length > 0 ? (word)length : 0;
}

/* Puts the path of a name in a directory, or of the directory if there is none, into the buffer. */
static long put_path(word at, const struct node *directory, const char *name, size_t length)
{
    char path[SECOND];
    long used = tree_path(directory, path, sizeof path);
    word skipped = length_of_mount(directory);
    is_protected = directory->hosts == PROTECTED;
    if (used == -ERANGE || (used > 0 && (size_t)used + length + 2 > sizeof path))
        return -ENAMETOOLONG;
    if (used < 0)
        return used;
    if (length) {
        path[used++] = '/';
        memcpy(path + used, name, length);
        used += (long)length;
    }
    path[used++] = 0;
    give(at, path + skipped, (word)used - skipped);
    return 0;
}

static const char *name_of(const struct node *node, size_t *length)
{
    struct entry *entry = node->parent->first;
    while (entry && entry->node != node)
        entry = entry->next;
    *length = entry ? entry->length : 0;
    return entry ? entry->name : NULL;
}

/* Of a file with a name.  One that was removed is the host's no more. */
static long put_path_of(const struct node *file)
{
    size_t length;
    const char *name = name_of(file, &length);
    return name ? put_path(0, file->parent, name, length) : -ESTALE;
}

/* ---- looking ---- */

int mount_pinned;

/* What is open stays, without a name, and so do directories: somebody may be inside (tree_drop). */
static void forget(struct node *directory, struct entry *entry)
{
    struct node *node = entry->node;
    while (S_ISDIR(node->mode) && node->first)
        forget(node, node->first);
    tree_remove(directory, entry);
}

static long ask_about(const struct node *directory, const char *name, size_t length, struct about *about)
{
    long error = put_path(0, directory, name, length);
    if (!error)
        error = done(ASK_STAT, 0);
    if (error)
        return error;
    take((char *)about, sizeof *about);
    return about->kind - 1 > 1 || about->size > FILE_BYTES || about->nanoseconds >= NS_PER_S ? -EIO : 0;
}

long mount_look_up(struct node *directory, const char *name, size_t length)
{
    struct about about = {0};
    struct entry *entry = tree_look_up(directory, name, length);
    long error = ask_about(directory, name, length, &about);
    unsigned kind = about.kind == 2 ? S_IFDIR : S_IFREG;
    if (error && error != -ENOENT)
        return error;
    if (entry && (error || (entry->node->mode & S_IFMT) != kind)) {
        if (mount_pinned)
            return -ESTALE;
        forget(directory, entry);
        entry = NULL;
    }
    if (error)
        return 0;
    struct node *node =
        entry ? entry->node : tree_add(directory, name, length, kind | (kind == S_IFDIR ? 0755 : 0644));
    if (!node)
        return -ENOSPC;
    if (!node->uses || kind == S_IFDIR) {
        node->size = kind == S_IFDIR ? 0 : about.size;
        node->seconds = about.seconds;
        node->nanoseconds = about.nanoseconds;
        node->read_seconds = about.seconds;
        node->read_nanoseconds = about.nanoseconds;
    }
    return 0;
}

static int is_name(const char *name, size_t length)
{
    if (!length || length > NAME_MOST || text_is(name, length, ".") || text_is(name, length, ".."))
        return 0;
    for (size_t i = 0; i < length; i++)
        if (name[i] == '/')
            return 0;
    return 1;
}

/* Looks at each of the names that the host has put one behind the other, with NULs between. */
static long list_some(struct node *directory, const char *names, long count)
{
    size_t at = 0;
    for (long i = 0; i < count; i++) {
        size_t length = 0;
        while (at + length < PAGE && names[at + length])
            length++;
        if (at + length == PAGE || !is_name(names + at, length))
            return -EIO;
        long error = mount_look_up(directory, names + at, length);
        if (error && error != -ELOOP && error != -EACCES) /* what is neither file nor directory is left out */
            return error;
        at += length + 1;
    }
    return 0;
}

static void forget_what_is_gone(struct node *directory)
{
    struct entry *next;
    for (struct entry *entry = directory->first; entry; entry = next) {
        char name[NAME_MOST];
        size_t length = entry->length;
        next = entry->next;
        memcpy(name, entry->name, length);
        mount_look_up(directory, name, length);
    }
}

long mount_list(struct node *directory)
{
    char names[PAGE];
    forget_what_is_gone(directory);
    for (word seen = 0; seen < NAMES_MOST;) {
        long error = put_path(0, directory, NULL, 0);
        long count = error ? error : asked(ASK_LIST, seen);
        if (count <= 0)
            return count;
        take(names, PAGE);
        error = list_some(directory, names, count);
        if (error)
            return error;
        seen += (word)count;
    }
    return -EFBIG;
}

/* ---- content ---- */

long mount_open(struct node *file)
{
    char piece[PAGE];
    if (file->uses)
        return 0;
    file->size = 0;
    for (;;) {
        long error = put_path_of(file);
        long count = error ? error : asked(ASK_GET, file->size);
        if (!count)
            return 0;
        if (count > 0) {
            take(piece, (word)count);
            count = tree_fill(file, piece, (word)count, file->size);
        }
        if (count < 0) {
            tree_empty(file);
            return count;
        }
    }
}

void mount_close(struct node *file)
{
    if (!file->uses && S_ISREG(file->mode))
        tree_empty(file);
}

long mount_write(const struct node *file, const char *from, word size, word offset)
{
    for (word at = 0; at < size;) {
        word part = size - at < PIECE ? size - at : PIECE;
        long error = put_path_of(file);
        if (error == -ESTALE)
            return 0;
        if (!error) {
            give(SECOND, from + at, part);
            error = done(ASK_PUT, (offset + at) | part << 32);
        }
        if (error)
            return error;
        at += part;
    }
    return 0;
}

long mount_resize(const struct node *file, word size)
{
    if (size > FILE_BYTES)
        return -EFBIG;
    long error = put_path_of(file);
    return error == -ESTALE ? 0 : error ? error : done(ASK_RESIZE, size);
}

/* ---- names ---- */

long mount_make(const struct node *directory, const char *name, size_t length, int is_directory)
{
    long error = directory->hosts ? put_path(0, directory, name, length) : 0;
    return error || !directory->hosts ? error : done(ASK_MAKE, (word)is_directory);
}

long mount_remove(const struct node *directory, const char *name, size_t length, int is_directory)
{
    long error = directory->hosts ? put_path(0, directory, name, length) : 0;
    return error || !directory->hosts ? error : done(ASK_REMOVE, (word)is_directory);
}

long mount_rename(const struct place *from, const struct place *to)
{
    if (!from->directory->hosts && !to->directory->hosts)
        return 0;
    if (from->directory->hosts != to->directory->hosts)
        return -EXDEV;
    long error = put_path(0, from->directory, from->name, from->length);
    if (!error)
        error = put_path(SECOND, to->directory, to->name, to->length);
    return error ? error : done(ASK_RENAME, 0);
}
