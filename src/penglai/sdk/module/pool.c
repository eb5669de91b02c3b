// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The pool: chunks of memory that are given to the monitor.
 *
 * A chunk that the monitor has is not on Linux's bus: every touch of it is an access fault.  It
 * keeps its place in the page allocator, as allocated, until the monitor gives it back.
 */
#include <linux/dma-mapping.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/rwsem.h>
#include <linux/slab.h>
#include <linux/xarray.h>
#include "penglai.h"

#define CHUNK_ORDER (ilog2(CHUNK_SIZE) - PAGE_SHIFT)
#define QUIETLY (GFP_KERNEL | __GFP_NOWARN)

/* How long after an enclave has ended the chunks are taken back that the monitor does not use. */
#define RECLAIM_DELAY (HZ / 10)

struct chunk {
	struct page *page; /* of the page allocator, or */
	void *virt; /* of CMA */
	dma_addr_t dma;
};

/* By number of the chunk in physical memory. */
static DEFINE_XARRAY(chunks);
static atomic_long_t chunk_count;

/*
 * Read: what was given is about to be used.  Write: what is not used is taken back.  So neither a
 * shortage, which may begin with the very pages that are being given, nor the end of other enclaves
 * takes away what somebody has just given.
 */
static DECLARE_RWSEM(using);

/* Queued by those who free something; reclaim.c sets its function. */
struct delayed_work pool_reclaim_work;

static phys_addr_t chunk_pa(const struct chunk *chunk)
{
	return chunk->page ? page_to_phys(chunk->page) : chunk->dma;
}

static void chunk_free(struct chunk *chunk)
{
	if (chunk->page)
		__free_pages(chunk->page, CHUNK_ORDER);
	else
		dma_free_coherent(penglai_device, CHUNK_SIZE, chunk->virt, chunk->dma);
	kfree(chunk);
}

static struct chunk *chunk_alloc(void)
{
	struct chunk *chunk = kzalloc(sizeof(*chunk), GFP_KERNEL);

	if (!chunk)
		return NULL;
	chunk->page = alloc_pages(QUIETLY | __GFP_NORETRY, CHUNK_ORDER);
	if (chunk->page)
		return chunk;
	chunk->virt = dma_alloc_coherent(penglai_device, CHUNK_SIZE, &chunk->dma, QUIETLY);
	if (!chunk->virt) {
		kfree(chunk);
		return NULL;
	}
	if (!IS_ALIGNED(chunk->dma, CHUNK_SIZE)) {
		chunk_free(chunk);
		return NULL;
	}
	return chunk;
}

static int chunk_give(void)
{
	struct chunk *chunk = chunk_alloc();
	struct sbiret ret;
	ulong index;
	int error;

	if (!chunk)
		return -ENOMEM;
	index = chunk_pa(chunk) / CHUNK_SIZE;
	error = xa_insert(&chunks, index, chunk, GFP_KERNEL);
	if (error) {
		chunk_free(chunk);
		return error;
	}
	ret = monitor_call(FID_MEMORY_EXTEND, chunk_pa(chunk), CHUNK_SIZE, 0, 0, 0);
	if (ret.error) {
		xa_erase(&chunks, index);
		chunk_free(chunk);
		return monitor_errno(ret.error);
	}
	atomic_long_inc(&chunk_count);
	return 0;
}

/* From here to pool_end_use the monitor keeps what it is given. */
void pool_begin_use(void)
{
	down_read(&using);
}

void pool_end_use(void)
{
	up_read(&using);
}

/*
 * Gives the monitor at least this many pages, for a call that is made before pool_end_use. If there
 * are not enough, those that were given are taken back soon.
 */
int pool_give(ulong pages)
{
	ulong count = DIV_ROUND_UP(pages, CHUNK_SIZE / PAGE_SIZE);
	int error = 0;

	if (count > totalram_pages() / (CHUNK_SIZE / PAGE_SIZE))
		return -ENOMEM;
	while (count-- && !error)
		error = chunk_give();
	if (error)
		pool_reclaim_soon();
	return error;
}

/* Takes back every chunk that the monitor has no use for; how many. */
static ulong reclaim_all(void)
{
	ulong count = 0;

	lockdep_assert_held_write(&using);
	for (;;) {
		struct sbiret ret = monitor_call(FID_MEMORY_RECLAIM, 0, 0, 0, 0, 0);
		struct chunk *chunk;

		if (ret.error || !ret.value)
			return count;
		chunk = xa_erase(&chunks, ret.value / CHUNK_SIZE);
		if (!chunk) /* given by a driver that was loaded before this one */
			continue;
		chunk_free(chunk);
		atomic_long_dec(&chunk_count);
		count++;
	}
}

/*
 * Makes a call of the monitor, giving it memory as it asks for it. If there is still not enough,
 * Linux has none left.
 */
struct sbiret pool_call(enum penglai_fid fid, ulong a0, ulong a1, ulong a2, ulong a3, ulong a4)
{
	struct sbiret ret = monitor_call(fid, a0, a1, a2, a3, a4);

	if (ret.error != ERR_NO_MEMORY)
		return ret;
	pool_begin_use();
	while (ret.error == ERR_NO_MEMORY && !pool_give(ret.value))
		ret = monitor_call(fid, a0, a1, a2, a3, a4);
	pool_end_use();
	return ret;
}

/* Takes back every chunk that the monitor has no use for. */
void pool_reclaim(void)
{
	down_write(&using);
	reclaim_all();
	up_write(&using);
}

/* The same for callers that must not wait for users of the pool; how many came back. */
ulong pool_try_reclaim(void)
{
	ulong count;

	if (!down_write_trylock(&using))
		return 0;
	count = reclaim_all();
	up_write(&using);
	return count;
}

/* How many chunks the monitor has. */
ulong pool_size(void)
{
	return atomic_long_read(&chunk_count);
}

void pool_reclaim_soon(void)
{
	mod_delayed_work(penglai_workqueue, &pool_reclaim_work, RECLAIM_DELAY);
}

void pool_init(void)
{
	monitor_call(FID_SM_INIT, 0, 0, 0, 0, 0);
}

/* No enclave lives any more: everything comes back, what they have left on its way included. */
void pool_exit(void)
{
	monitor_call(FID_SM_INIT, 0, 0, 0, 0, 0);
	pool_reclaim();
	if (!xa_empty(&chunks))
		pr_warn("penglai: the monitor keeps memory: it is lost\n");
	xa_destroy(&chunks);
}
