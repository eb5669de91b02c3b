/*
 * The sealed store: a tree of blocks.  The root is sealed by itself and names pages of the map, which name the
 * blocks; each name is a sector with the tag of what must be there.  Nothing that a root names is ever overwritten:
 * a commit writes what is new to free sectors, and then the next root, twice.  So the two are equal, or the first
 * is one commit ahead; and whoever puts one older sector in place cannot bring back an older root.
 */
#include "store.h"
#include <string.h>
#include "blocks.h"
#include "eapp.h"
#include "print.h"
#include "seal.h"
#include "sectors.h"

#define ROOTS 2 /* the first sectors */
#define PAGE_ENTRIES 128
#define PAGES (STORE_BLOCKS / PAGE_ENTRIES)
#define FIRST_SECTOR ROOTS
#define SECTORS (FIRST_SECTOR + 2 * (STORE_BLOCKS + PAGES)) /* those of two commits at once */
#define CACHED 48
#define MAGIC 0x31656c69666c7050UL /* "Plfile1" */
#define NONE 0                     /* no sector: it has a root */

enum kind { BLOCK = 1, PAGE = 2, ROOT = 3 };

struct entry {
    uint32_t sector, turn; /* the low half of the commit's number */
    uint8_t tag[SEAL_TAG];
};

struct root {
    uint64_t magic, turn;
    struct entry pages[PAGES];
};

static union {
    struct root root;
    uint8_t bytes[BLOCK_SIZE - SEAL_TAG];
} head;

static struct entry map[STORE_BLOCKS];
static uint8_t page_is_new[PAGES];

enum use { FREE, IN_USE, WRITTEN };           /* of the last commit's; of the next one's */
static uint8_t uses[SECTORS];                 /* of each sector */
static uint32_t left[STORE_BLOCKS + PAGES];   /* sectors that the next commit makes free */
static uint32_t written[STORE_BLOCKS + PAGES]; /* those that it begins to use */
static size_t left_count, written_count, lowest;

static struct cached {
    uint32_t block;
    int is_used, is_new;
    unsigned long age;
    uint8_t data[BLOCK_SIZE];
} cache[CACHED];
static unsigned long age;

static uint8_t sector[BLOCK_SIZE];
static int is_changed;

static int complain(const char *what, uint32_t number)
{
    if (!is_changed)
        eapp_print("filesystem: %s %u of the store is not what was stored: nothing is served any more\n",
                   what, number);
    is_changed = 1;
    return STORE_CHANGED;
}

/* ---- one sector, by its entry ---- */

static int get(enum kind kind, uint32_t number, const struct entry *entry, uint8_t *plain)
{
    struct seal_place place = {kind, number, entry->turn};
    if (entry->sector == NONE) {
        memset(plain, 0, BLOCK_SIZE);
        return 0;
    }
    if (sector_read(entry->sector, sector))
        return STORE_UNREACHABLE;
    if (seal_open(&place, sector, BLOCK_SIZE, entry->tag, plain))
        return complain(kind == PAGE ? "page" : "block", number);
    return 0;
}

/* There always is one: of each block and page at most two versions are kept. */
static uint32_t free_sector(void)
{
    while (uses[lowest] != FREE)
        lowest++;
    uses[lowest] = WRITTEN;
    written[written_count++] = (uint32_t)lowest;
    return (uint32_t)lowest;
}

static int put(enum kind kind, uint32_t number, struct entry *entry, const uint8_t *plain)
{
    if (entry->sector == NONE || uses[entry->sector] != WRITTEN) {
        if (entry->sector != NONE)
            left[left_count++] = entry->sector;
        entry->sector = free_sector();
    }
    entry->turn = (uint32_t)(head.root.turn + 1);
    struct seal_place place = {kind, number, entry->turn};
    seal_close(&place, plain, BLOCK_SIZE, sector, entry->tag);
    return sector_write(entry->sector, sector) ? STORE_UNREACHABLE : 0;
}

/* ---- blocks ---- */

static int put_block(struct cached *each)
{
    page_is_new[each->block / PAGE_ENTRIES] = 1;
    int result = put(BLOCK, each->block, &map[each->block], each->data);
    if (!result)
        each->is_new = 0;
    return result;
}

static struct cached *least_recent(void)
{
    struct cached *found = cache;
    for (struct cached *each = cache; each < cache + CACHED; each++) {
        if (!each->is_used)
            return each;
        if (each->age < found->age)
            found = each;
    }
    return found;
}

static int load(struct cached *place, uint32_t block)
{
    int result = place->is_used && place->is_new ? put_block(place) : 0;
    if (result)
        return result;
    place->is_used = 0;
    if ((result = get(BLOCK, block, &map[block], place->data)))
        return result;
    place->block = block;
    place->is_used = 1;
    place->is_new = 0;
    return 0;
}

/* The place of a block in the cache, with its data; the one that was least recently used makes room. */
static int find(uint32_t block, struct cached **found)
{
    int result = 0;
    if (is_changed || block >= STORE_BLOCKS)
        return STORE_CHANGED;
    for (*found = cache; *found < cache + CACHED; ++*found)
        if ((*found)->is_used && (*found)->block == block)
            break;
    if (*found == cache + CACHED) {
        *found = least_recent();
        result = load(*found, block);
    }
    (*found)->age = ++age;
    return result;
}

int store_read(uint32_t block, uint32_t offset, void *buffer, size_t size)
{
    struct cached *found;
    int result = find(block, &found);
    if (!result)
        memcpy(buffer, found->data + offset, size);
    return result;
}

int store_write(uint32_t block, uint32_t offset, const void *buffer, size_t size)
{
    struct cached *found;
    int result = find(block, &found);
    if (result)
        return result;
    memcpy(found->data + offset, buffer, size);
    found->is_new = 1;
    return 0;
}

/* ---- commits ---- */

static const struct seal_place root_place = {ROOT, 0, 0};

static int put_root(void)
{
    seal_close(&root_place, head.bytes, sizeof head.bytes, sector + SEAL_TAG, sector);
    for (uint32_t number = 0; number < ROOTS; number++)
        if (sector_write(number, sector))
            return STORE_UNREACHABLE;
    return 0;
}

static int put_blocks(void)
{
    int result = 0;
    for (struct cached *each = cache; !result && each < cache + CACHED; each++)
        if (each->is_used && each->is_new)
            result = put_block(each);
    return result;
}

static int put_pages(void)
{
    int result = 0;
    for (uint32_t page = 0; !result && page < PAGES; page++) {
        if (page_is_new[page])
            result = put(PAGE, page, &head.root.pages[page], (const uint8_t *)(map + page * PAGE_ENTRIES));
        if (!result)
            page_is_new[page] = 0;
    }
    return result;
}

/* The sectors that only the root before the last one has named are free from now on. */
static void settle(void)
{
    while (written_count)
        uses[written[--written_count]] = IN_USE;
    while (left_count) {
        uses[left[--left_count]] = FREE;
        if (left[left_count] < lowest)
            lowest = left[left_count];
    }
}

int store_commit(void)
{
    if (is_changed)
        return STORE_CHANGED;
    int result = put_blocks();
    if (!result)
        result = put_pages();
    if (result || !written_count)
        return result;
    head.root.turn++;
    if (!(result = put_root()))
        settle();
    return result;
}

/* ---- the beginning ---- */

static int is_empty(const uint8_t *data)
{
    for (size_t i = 0; i < BLOCK_SIZE; i++)
        if (data[i])
            return 0;
    return 1;
}

enum found { EMPTY, GOOD, BAD, UNREACHABLE };

/* Leaves it in `head`. */
static enum found get_root(uint32_t number)
{
    if (sector_read(number, sector))
        return UNREACHABLE;
    if (is_empty(sector))
        return EMPTY;
    if (seal_open(&root_place, sector + SEAL_TAG, sizeof head.bytes, sector, head.bytes))
        return BAD;
    return head.root.magic == MAGIC ? GOOD : BAD;
}

static int begin_root(void)
{
    memset(&head, 0, sizeof head);
    head.root.magic = MAGIC;
    return put_root();
}

/*
 * Leaves the root in `head`.  A sector is written whole or not at all: a root that is neither empty nor good was
 * changed, and so was one that does not go with the other.  Of one that was not written twice, it is made up for.
 */
static int find_root(void)
{
    enum found second = get_root(1);
    uint64_t turn = head.root.turn;
    enum found first = second == UNREACHABLE ? second : get_root(0);
    if (first == UNREACHABLE)
        return STORE_UNREACHABLE;
    if (first == EMPTY && second == EMPTY)
        return begin_root();
    if (first != GOOD)
        return complain("root", 0);
    if (second == GOOD && turn == head.root.turn)
        return 0;
    int is_torn = second == EMPTY ? head.root.turn == 0 : second == GOOD && turn + 1 == head.root.turn;
    return is_torn ? put_root() : complain("root", 1);
}

static void use(const struct entry *entry)
{
    if (entry->sector != NONE)
        uses[entry->sector] = IN_USE;
}

static int load_map(void)
{
    for (uint32_t page = 0; page < PAGES; page++) {
        uint8_t *place = (uint8_t *)(map + page * PAGE_ENTRIES);
        int result = get(PAGE, page, &head.root.pages[page], place);
        if (result)
            return result;
        use(&head.root.pages[page]);
    }
    for (uint32_t block = 0; block < STORE_BLOCKS; block++)
        use(&map[block]);
    return 0;
}

int store_open(void)
{
    if (is_changed)
        return STORE_CHANGED;
    if (seal_ready())
        return STORE_UNREACHABLE;
    memset(cache, 0, sizeof cache);
    memset(uses, FREE, sizeof uses);
    memset(page_is_new, 0, sizeof page_is_new);
    left_count = written_count = 0;
    lowest = FIRST_SECTOR;
    int result = find_root();
    if (!result)
        result = load_map();
    return result ? result : head.root.turn == 0;
}
