/*
 * Files and directories: what was packed, and what the program makes of it, all in the enclave's memory.
 *
 * What was packed is read where it lies.  A file gets memory of its own when it is written to.
 */
#include <fcntl.h>
#include "linux.h"

#define MOST_LINKS 40
#define BLOCK 512
#define SHARED_ROOM (1UL << 20)
#define IMAGE_END 0x1000000000UL

struct node *tree_root, *tree_current;
unsigned tree_umask = 022;
static word next_number;

static int keeps_time; /* what is there from the beginning is of the year 1970, packed or not */

int tree_begin(const struct linux_image *image)
{
    tree_root = image->root;
    protected_begin(image);
    tree_current = image->directory;
    tree_current->uses++;
    next_number = image->nodes;
    int made = proc_begin(image);
    keeps_time = 1;
    return made;
}

struct entry *tree_look_up(const struct node *directory, const char *name, size_t length)
{
    struct entry *entry = directory->first;
    while (entry && (entry->length != length || memcmp(entry->name, name, length)))
        entry = entry->next;
    return entry;
}

/* ---- paths ---- */

struct walk {
    struct node *at;
    const char *rest;
    int links;
    char text[PATHS_BYTES];
};

static long follow(struct walk *walk, const struct node *link)
{
    char text[PATHS_BYTES];
    size_t rest = strlen(walk->rest);
    if (++walk->links > MOST_LINKS)
        return -ELOOP;
    if (!link->size)
        return -ENOENT;
    if (link->size + rest + 1 > sizeof text)
        return -ENAMETOOLONG;
    memcpy(text, link->data, link->size);
    memcpy(text + link->size, walk->rest, rest + 1);
    memcpy(walk->text, text, link->size + rest + 1);
    walk->rest = walk->text;
    if (*walk->rest == '/')
        walk->at = tree_root;
    return 0;
}

/* The next name of the path; its length, 0 at the end. */
static size_t next_name(struct walk *walk, const char **name)
{
    while (*walk->rest == '/')
        walk->rest++;
    *name = walk->rest;
    while (*walk->rest && *walk->rest != '/')
        walk->rest++;
    return (size_t)(walk->rest - *name);
}

static int is_last(const struct walk *walk)
{
    const char *rest = walk->rest;
    while (*rest == '/')
        rest++;
    return !*rest;
}

static void set_place(struct place *place, struct node *directory, struct entry *entry, const char *name,
                      size_t length)
{
    place->directory = directory;
    place->entry = entry;
    place->node = entry ? entry->node : NULL;
    place->length = length;
    memcpy(place->name, name, length);
}

static long step(struct walk *walk, int follows, struct place *place)
{
    const char *name;
    size_t length = next_name(walk, &name);
    if (!length) {
        *place = (struct place){.node = walk->at, .slash = place->slash, .up = place->up};
        return 0;
    }
    if (!S_ISDIR(walk->at->mode))
        return -ENOTDIR;
    if (length >= sizeof place->name)
        return -ENAMETOOLONG;
    int up = text_is(name, length, "..");
    place->up = up;
    if (up || text_is(name, length, ".")) {
        walk->at = up ? walk->at->parent : walk->at;
        return 1;
    }
    long error = walk->at->hosts ? mount_look_up(walk->at, name, length) : 0;
    if (error)
        return error;
    struct entry *entry = tree_look_up(walk->at, name, length);
    place->slash = *walk->rest == '/';
    if (!entry) {
        if (!is_last(walk))
            return -ENOENT;
        set_place(place, walk->at, NULL, name, length);
        return 0;
    }
    if (S_ISLNK(entry->node->mode) && (!is_last(walk) || follows > 0 || (!follows && place->slash))) {
        error = follow(walk, entry->node);
        return error ? error : 1;
    }
    if (is_last(walk)) {
        set_place(place, walk->at, entry, name, length);
        return place->slash && !S_ISDIR(entry->node->mode) ? -ENOTDIR : 0;
    }
    walk->at = entry->node;
    return 1;
}

long tree_walk(struct node *from, const char *path, int follows, struct place *place)
{
    struct walk walk = {.at = *path == '/' ? tree_root : from, .rest = path};
    place->slash = place->up = 0;
    if (!*path)
        return -ENOENT;
    long result;
    do
        result = step(&walk, follows, place);
    while (result > 0);
    return result;
}

static struct entry *entry_of(const struct node *node)
{
    struct entry *entry = node->parent->first;
    while (entry && entry->node != node)
        entry = entry->next;
    return entry;
}

long tree_path(const struct node *node, char *out, size_t room)
{
    size_t start = room;
    if (node == tree_root)
        out[--start] = '/';
    for (; node != tree_root; node = node->parent) {
        struct entry *entry = entry_of(node);
        if (!entry)
            return -ENOENT; /* it was removed */
        if (start < entry->length + 1)
            return -ERANGE;
        start -= entry->length;
        memcpy(out + start, entry->name, entry->length);
        out[--start] = '/';
    }
    memmove(out, out + start, room - start);
    return (long)(room - start);
}

/* ---- changing it ---- */

void tree_touch(struct node *node)
{
    if (!keeps_time)
        return;
    word now = monitor_time_of_day();
    node->seconds = now / NS_PER_S;
    node->nanoseconds = now % NS_PER_S;
}

long tree_enter(struct node *directory, const char *name, size_t length, struct node *node)
{
    struct entry *entry = heap_new(sizeof *entry);
    char *copy = heap_new(length);
    if (!entry || !copy || !directory->links) {
        if (entry)
            heap_free(entry, sizeof *entry);
        if (copy)
            heap_free(copy, length);
        return entry && copy ? -ENOENT : -ENOSPC;
    }
    memcpy(copy, name, length);
    struct entry **end = &directory->first;
    word cookie = 3;
    for (; *end; end = &(*end)->next)
        cookie = (*end)->cookie + 1;
    *entry = (struct entry){.node = node, .name = copy, .length = length, .cookie = cookie};
    *end = entry;
    node->links++;
    node->parent = directory; /* of files only the host's need it */
    if (S_ISDIR(node->mode))
        directory->links++;
    tree_touch(directory);
    return 0;
}

struct node *tree_add(struct node *directory, const char *name, size_t length, unsigned mode)
{
    struct node *node = heap_new(sizeof *node);
    if (!node)
        return NULL;
    *node = (struct node){.mode = mode, .links = S_ISDIR(mode) ? 1 : 0, .number = next_number++};
    if (directory)
        node->hosts = directory->hosts;
    tree_touch(node);
    node->read_seconds = node->seconds;
    node->read_nanoseconds = node->nanoseconds;
    if (directory && tree_enter(directory, name, length, node)) {
        heap_free(node, sizeof *node);
        return NULL;
    }
    return node;
}

static int was_packed(const void *piece)
{
    return (word)piece < IMAGE_END;
}

void tree_drop(struct node *node)
{
    if (node->links || node->uses)
        return;
    if (node->room)
        heap_free(node->data, node->room);
    node->room = node->size = 0;
    int stays = node->hosts && S_ISDIR(node->mode); /* others may have it as their parent, however it went */
    if (node->holds) {
        node->holds = 0;
        node->parent->uses--;
        tree_drop(node->parent);
    }
    if (!was_packed(node) && !stays)
        heap_free(node, sizeof *node);
}

void tree_remove(struct node *directory, struct entry *entry)
{
    struct node *node = entry->node;
    struct entry **link = &directory->first;
    while (*link != entry)
        link = &(*link)->next;
    *link = entry->next;
    if (!was_packed(entry)) {
        heap_free(entry->name, entry->length);
        heap_free(entry, sizeof *entry);
    }
    node->links--;
    if (S_ISDIR(node->mode)) {
        node->links--;
        directory->links--;
        if (!node->links && node->uses && !node->hosts) { /* somebody is inside, and may go up */
            node->holds = 1;
            directory->uses++;
        }
    }
    tree_touch(directory);
    tree_drop(node);
}

/* The file has memory of its own for so many bytes. */
static long make_room(struct node *node, word size)
{
    if (size > FILE_BYTES)
        return -EFBIG;
    if (node->room >= size && node->room)
        return 0;
    if (node->shared)
        return -ENOSPC;
    word room = node->room * 2 > size ? node->room * 2 : size;
    room = room < 256 ? 256 : (room + PAGE - 1) & (room > 2048 ? -PAGE : -1UL);
    char *data = heap_new(room);
    if (!data)
        return -ENOSPC;
    memcpy(data, node->data, node->size < room ? node->size : room);
    if (node->room)
        heap_free(node->data, node->room);
    node->data = data;
    node->room = room;
    return 0;
}

long tree_fill(struct node *node, const char *from, word size, word offset)
{
    word end;
    if (__builtin_add_overflow(offset, size, &end) || end > FILE_BYTES)
        return -EFBIG;
    long error = size ? make_room(node, end > node->size ? end : node->size) : 0;
    if (error)
        return error;
    if (offset > node->size)
        memset(node->data + node->size, 0, offset - node->size);
    memcpy(node->data + offset, from, size);
    if (size && end > node->size)
        node->size = end;
    return (long)size;
}

/* from: the program's, looked at already. */
long tree_write(struct node *node, const char *from, word size, word offset)
{
    word end;
    if (__builtin_add_overflow(offset, size, &end) || end > FILE_BYTES)
        return -EFBIG;
    long error = node->hosts ? mount_write(node, from, size, offset) : 0;
    long done = error ? error : tree_fill(node, from, size, offset);
    if (done >= 0)
        tree_touch(node);
    return done;
}

/* Its data gets a place of its own, with room to grow to twice its size, or a mebibyte. */
long tree_share(struct node *node)
{
    word size = node->size, room = 2 * size > SHARED_ROOM ? 2 * size : SHARED_ROOM;
    if (node->shared)
        return 0;
    if (node->hosts)
        return -ENODEV;
    long error = room > FILE_BYTES ? -EFBIG : make_room(node, room);
    if (error)
        return error;
    memset(node->data + size, 0, node->room - size);
    node->shared = 1;
    node->uses++;
    return 0;
}

void tree_empty(struct node *node)
{
    if (node->room)
        heap_free(node->data, node->room);
    node->data = NULL;
    node->room = 0;
}

long tree_resize(struct node *node, word size)
{
    long error = node->hosts ? mount_resize(node, size) : 0;
    if (error)
        return error;
    if (node->hosts && !node->uses) { /* nothing of it is here */
        node->size = size;
        return 0;
    }
    if (size > node->size) {
        error = make_room(node, size);
        if (error)
            return error;
        memset(node->data + node->size, 0, size - node->size);
    }
    if (!size && node->room && !node->shared) {
        heap_free(node->data, node->room);
        node->room = 0;
    }
    node->size = size;
    tree_touch(node);
    return 0;
}

void tree_describe(const struct node *node, struct stat *about)
{
    *about = (struct stat){.st_dev = 1,
                           .st_ino = node->number,
                           .st_mode = node->mode,
                           .st_nlink = node->links,
                           .st_rdev = S_ISCHR(node->mode) ? node->device : 0,
                           .st_size = (off_t)node->size,
                           .st_blksize = PAGE,
                           .st_blocks = (blkcnt_t)((node->size + BLOCK - 1) / BLOCK)};
    about->st_mtim = (struct timespec){.tv_sec = (time_t)node->seconds, .tv_nsec = (long)node->nanoseconds};
    about->st_ctim = about->st_mtim;
    about->st_atim =
        (struct timespec){.tv_sec = (time_t)node->read_seconds, .tv_nsec = (long)node->read_nanoseconds};
    if (S_ISDIR(node->mode))
        about->st_size = PAGE;
}
