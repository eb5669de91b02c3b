/* /dev, and of /proc what programs read: its files are made when they are opened. */
#include "linux.h"

#define ROOM (64 * PAGE)
#define READABLE (S_IFREG | 0444)
#define DEVICE (S_IFCHR | 0666)

struct made {
    const char *path;
    unsigned mode;
    enum special special;
    const char *leads_to;
};

static const struct made all[] = {
    {"/dev", S_IFDIR | 0755, NOTHING, NULL},
    {"/dev/null", DEVICE, IS_NULL, NULL},
    {"/dev/zero", DEVICE, IS_ZERO, NULL},
    {"/dev/full", DEVICE, IS_FULL, NULL},
    {"/dev/random", DEVICE, IS_RANDOM, NULL},
    {"/dev/urandom", DEVICE, IS_RANDOM, NULL},
    {"/dev/stdin", DEVICE, IS_STDIN, NULL},
    {"/dev/stdout", DEVICE, IS_STDOUT, NULL},
    {"/dev/stderr", DEVICE, IS_STDERR, NULL},
    {"/dev/shm", S_IFDIR | 01777, NOTHING, NULL},
    {"/tmp", S_IFDIR | 01777, NOTHING, NULL},
    {"/proc", S_IFDIR | 0555, NOTHING, NULL},
    {"/proc/1", S_IFDIR | 0555, NOTHING, NULL},
    {"/proc/self", S_IFLNK | 0777, NOTHING, "1"},
    {"/proc/1/exe", S_IFLNK | 0777, NOTHING, NULL},
    {"/proc/1/maps", READABLE, PROC_MAPS, NULL},
    {"/proc/1/status", READABLE, PROC_STATUS, NULL},
    {"/proc/1/stat", READABLE, PROC_STAT, NULL},
    {"/proc/1/statm", READABLE, PROC_STATM, NULL},
    {"/proc/1/cmdline", READABLE, PROC_COMMAND, NULL},
    {"/proc/1/environ", READABLE, PROC_ENVIRONMENT, NULL},
    {"/proc/1/mounts", READABLE, PROC_MOUNTS, NULL},
    {"/proc/1/limits", READABLE, PROC_LIMITS, NULL},
    {"/proc/mounts", S_IFLNK | 0777, NOTHING, "self/mounts"},
    {"/proc/cpuinfo", READABLE, PROC_CPUS, NULL},
    {"/proc/meminfo", READABLE, PROC_MEMORY, NULL},
    {"/proc/uptime", READABLE, PROC_UPTIME, NULL},
    {"/proc/loadavg", READABLE, PROC_LOAD, NULL},
    {"/proc/version", READABLE, PROC_VERSION, NULL},
};

/* What was packed under such a name stays. */
static int make(const struct made *made, const char *program)
{
    struct place place;
    if (tree_walk(tree_root, made->path, 0, &place) || place.node || !place.directory)
        return 1;
    struct node *node = tree_add(place.directory, place.name, place.length, made->mode);
    if (!node)
        return 0;
    node->device = made->special;
    if (S_ISLNK(made->mode)) {
        const char *target = made->leads_to ? made->leads_to : program;
        return tree_write(node, target, strlen(target), 0) > 0;
    }
    return 1;
}

int proc_begin(const struct linux_image *image)
{
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!make(&all[i], image->path))
            return 0;
    return 1;
}

/* ---- content ---- */

struct text {
    char *start;
    size_t used;
};

static void put(struct text *text, const char *more)
{
    size_t length = strlen(more);
    if (text->used + length > ROOM)
        return;
    memcpy(text->start + text->used, more, length);
    text->used += length;
}

static void put_number(struct text *text, word value)
{
    char digits[24];
    format_number(digits, value);
    put(text, digits);
}

static void put_line(struct text *text, const char *name, word value, const char *unit)
{
    put(text, name);
    put_number(text, value);
    put(text, unit);
}

static void put_list(struct text *text, char **list, word count)
{
    for (word i = 0; i < count; i++) {
        size_t size = strlen(list[i]) + 1;
        if (text->used + size > ROOM)
            return;
        memcpy(text->start + text->used, list[i], size);
        text->used += size;
    }
}

static void put_seconds(struct text *text)
{
    word hundredths = ticks_ns() / 10000000;
    put_number(text, hundredths / 100);
    put(text, hundredths % 100 < 10 ? ".0" : ".");
    put_number(text, hundredths % 100);
}

static void put_status(struct text *text)
{
    put(text, "Name:\t");
    put(text, threads_first()->name);
    put(text, "\nUmask:\t0022\nState:\tR (running)\nTgid:\t1\nPid:\t1\nPPid:\t0\nTracerPid:\t0\n"
              "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n");
    put_line(text, "VmSize:\t", memory_resident() / 1024, " kB\n");
    put_line(text, "VmRSS:\t", memory_resident() / 1024, " kB\n");
    put_line(text, "Threads:\t", (word)threads_count(), "\n");
}

static void put_stat(struct text *text)
{
    put(text, "1 (");
    put(text, threads_first()->name);
    put(text, ") R 0 1 1 0 -1 0 0 0 0 0 ");
    put_number(text, ticks_ns() / 10000000);
    put_line(text, " 0 0 0 20 0 ", (word)threads_count(), " 0 0 ");
    put_number(text, memory_resident());
    put_line(text, " ", memory_resident() / PAGE,
             " 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n");
}

static void put_memory(struct text *text)
{
    word total, free;
    system_memory(&total, &free);
    put_line(text, "MemTotal:       ", total / 1024, " kB\n");
    put_line(text, "MemFree:        ", free / 1024, " kB\n");
    put_line(text, "MemAvailable:   ", free / 1024, " kB\n");
    put(text, "Buffers:        0 kB\nCached:         0 kB\nSwapTotal:      0 kB\nSwapFree:       0 kB\n");
}

static void put_statm(struct text *text)
{
    put_number(text, memory_resident() / PAGE);
    put_line(text, " ", memory_resident() / PAGE, " 0 0 0 0 0\n");
}

static void put_content(struct text *text, enum special special)
{
    const struct linux_image *image = (const struct linux_image *)LINUX_IMAGE;
    switch (special) {
    case PROC_MAPS:
        text->used = memory_describe(text->start, ROOM);
        break;
    case PROC_STATUS:
        put_status(text);
        break;
    case PROC_STAT:
        put_stat(text);
        break;
    case PROC_STATM:
        put_statm(text);
        break;
    case PROC_COMMAND:
        put_list(text, image->arguments, image->argument_count);
        break;
    case PROC_ENVIRONMENT:
        put_list(text, image->environment, image->environment_count);
        break;
    case PROC_CPUS:
        put(text, "processor\t: 0\nhart\t\t: 0\nisa\t\t: rv64imafdc\nmmu\t\t: sv39\n\n");
        break;
    case PROC_MEMORY:
        put_memory(text);
        break;
    case PROC_UPTIME:
        put_seconds(text);
        put(text, " 0.00\n");
        break;
    case PROC_LOAD:
        put(text, "0.00 0.00 0.00 1/1 1\n");
        break;
    case PROC_VERSION:
        put(text, "Linux version 6.1.0 (penglai) #1\n");
        break;
    case PROC_MOUNTS:
        put(text, "none / tmpfs rw 0 0\n");
        break;
    default: /* PROC_LIMITS */
        put(text, "Limit                     Soft Limit           Hard Limit           Units\n"
                  "Max stack size            8388608              8388608              bytes\n"
                  "Max open files            1024                 1024                 files\n");
    }
}

/* A file without a name, with the content of this moment. */
struct node *proc_make(const struct node *node)
{
    struct text text = {.start = (char *)memory_take(ROOM)};
    struct node *made = text.start ? tree_add(NULL, NULL, 0, READABLE) : NULL;
    if (made) {
        put_content(&text, (enum special)node->device);
        made->number = node->number;
        if (tree_write(made, text.start, text.used, 0) < 0) {
            tree_drop(made);
            made = NULL;
        }
    }
    if (text.start)
        memory_give((word)text.start, ROOM);
    return made;
}
