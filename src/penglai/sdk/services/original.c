#include "original.h"
#include <string.h>
#include "blocks.h"

#define MAGIC 0x10203040
#define INODES 200
#define LOG_BLOCKS 30
#define LOG_START 2
#define INODE_START 32
#define BITMAP_START 36
#define FIRST_DATA 37
#define ROOT 1
#define DIRECTORY 1
#define SUPERBLOCK 1

struct superblock {
    uint32_t magic, size, data_blocks, inodes, log_blocks, log_start, inode_start, bitmap_start;
};

struct inode {
    int16_t type, major, minor, links;
    uint32_t size, blocks[13];
};

struct entry {
    uint16_t inode;
    char name[62];
};

static const struct superblock wanted = {.magic = MAGIC,
                                         .size = ORIGINAL_BLOCKS,
                                         .data_blocks = ORIGINAL_BLOCKS - FIRST_DATA,
                                         .inodes = INODES,
                                         .log_blocks = LOG_BLOCKS,
                                         .log_start = LOG_START,
                                         .inode_start = INODE_START,
                                         .bitmap_start = BITMAP_START};

static uint8_t block[BLOCK_SIZE];

static int put(original_move *move, uint32_t number, const void *content, uint32_t offset, uint32_t size)
{
    memset(block, 0, sizeof block);
    memcpy(block + offset, content, size);
    return move(number, 1, block);
}

/* The superblock comes last: without it all is made again. */
static int make(original_move *move)
{
    static const struct entry root[] = {{ROOT, "."}, {ROOT, ".."}};
    static const struct inode inode = {
        .type = DIRECTORY, .links = 1, .size = sizeof root, .blocks = {FIRST_DATA}};
    uint8_t bitmap[FIRST_DATA / 8 + 1];
    int failed = 0;
    for (uint32_t number = 0; number <= FIRST_DATA; number++)
        failed |= number == SUPERBLOCK ? 0 : put(move, number, "", 0, 0);
    memset(bitmap, 0xff, sizeof bitmap);
    bitmap[FIRST_DATA / 8] = (uint8_t)((2u << FIRST_DATA % 8) - 1);
    failed |= put(move, FIRST_DATA, root, 0, sizeof root);
    failed |= put(move, INODE_START, &inode, ROOT * sizeof inode, sizeof inode);
    failed |= put(move, BITMAP_START, bitmap, 0, sizeof bitmap);
    return failed ? -1 : put(move, SUPERBLOCK, &wanted, 0, sizeof wanted);
}

int original_prepare(original_move *move)
{
    struct superblock found;
    if (move(SUPERBLOCK, 0, block))
        return -1;
    memcpy(&found, block, sizeof found);
    int is_there =
        found.magic == wanted.magic && found.size == wanted.size && found.log_blocks == wanted.log_blocks;
    return is_there ? 0 : make(move);
}
