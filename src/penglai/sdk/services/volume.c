#include "volume.h"
#include <errno.h>
#include "blocks.h"
#include "store.h"

#define GRAIN 16 /* bytes, to which writes are rounded up */

lfs_t volume;

static int is_mounted;
static uint8_t read_buffer[VOLUME_CACHE], prog_buffer[VOLUME_CACHE], lookahead_buffer[STORE_BLOCKS / 8];

/* Never LFS_ERR_CORRUPT: littlefs would take an older version of the block, and go on. */
static int as_error(int result)
{
    return result < 0 ? LFS_ERR_IO : 0;
}

static int read_block(const struct lfs_config *config, lfs_block_t block, lfs_off_t offset, void *buffer,
                      lfs_size_t size)
{
    (void)config;
    return as_error(store_read(block, offset, buffer, size));
}

static int write_block(const struct lfs_config *config, lfs_block_t block, lfs_off_t offset,
                       const void *buffer, lfs_size_t size)
{
    (void)config;
    return as_error(store_write(block, offset, buffer, size));
}

static int erase_block(const struct lfs_config *config, lfs_block_t block)
{
    (void)config;
    (void)block;
    return 0;
}

/* A whole request is one commit. */
static int sync_blocks(const struct lfs_config *config)
{
    (void)config;
    return 0;
}

static const struct lfs_config config = {
    .read = read_block,
    .prog = write_block,
    .erase = erase_block,
    .sync = sync_blocks,
    .read_size = GRAIN,
    .prog_size = GRAIN,
    .block_size = BLOCK_SIZE,
    .block_count = STORE_BLOCKS,
    .block_cycles = -1, /* nothing wears out */
    .cache_size = VOLUME_CACHE,
    .lookahead_size = sizeof lookahead_buffer,
    .read_buffer = read_buffer,
    .prog_buffer = prog_buffer,
    .lookahead_buffer = lookahead_buffer,
};

static int mount(void)
{
    int is_new = store_open();
    if (is_new < 0)
        return -EIO;
    if (is_new) {
        int result = lfs_format(&volume, &config);
        if (result)
            return result;
        if (store_commit())
            return -EIO;
    }
    return lfs_mount(&volume, &config);
}

int volume_ready(int *fresh)
{
    *fresh = !is_mounted;
    if (is_mounted)
        return 0;
    int result = mount();
    is_mounted = !result;
    return result;
}

int volume_commit(void)
{
    return store_commit() ? -EIO : 0;
}

void volume_forget(void)
{
    is_mounted = 0;
}
