// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Memory: contiguous pieces for the driver itself, and chunks that are given to the monitor.
 *
 * A chunk that the monitor has is not on Linux's bus: every touch of it is an access fault.  It
 * keeps its place in the page allocator, as allocated, until the monitor gives it back.
 */
#include <linux/dma-mapping.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/rwsem.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/xarray.h>
#include "penglai.h"

#define CHUNK_ORDER (ilog2(CHUNK_SIZE) - PAGE_SHIFT)
#define QUIETLY (GFP_KERNEL | __GFP_NOWARN)

/*
 * So long after the last enclave has ended, the chunks that the monitor has no use for come back.
 *
 */
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

static void reclaim_work_func(struct work_struct *work);
static DECLARE_DELAYED_WORK(reclaim_work, reclaim_work_func);

/* ---- contiguous memory ---- */

int contig_alloc(struct contig *contig, size_t size)
{
	*contig = (struct contig){ .size = PAGE_ALIGN(size) };
	if (!contig->size)
		return -EINVAL;
	if (contig->size <= PAGE_SIZE << (MAX_ORDER - 1))
		contig->virt = alloc_pages_exact(contig->size, QUIETLY | __GFP_ZERO);
	if (contig->virt) {
		contig->pa = virt_to_phys(contig->virt);
		return 0;
	}
	contig->virt = dma_alloc_coherent(penglai_device, contig->size, &contig->dma, QUIETLY);
	contig->pa = contig->dma;
	return contig->virt ? 0 : -ENOMEM;
}

void contig_free(struct contig *contig)
{
	if (!contig->virt)
		return;
	if (contig->dma)
		dma_free_coherent(penglai_device, contig->size, contig->virt, contig->dma);
	else
		free_pages_exact(contig->virt, contig->size);
	contig->virt = NULL;
}

/* ---- chunks ---- */

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
	ret = monitor_call(FID_EXTEND, chunk_pa(chunk), CHUNK_SIZE, 0, 0, 0);
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
 * Gives the monitor at least so many pages, for a call that is made before pool_end_use.  If there
 * are not enough, what was given comes back soon.
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
		struct sbiret ret = monitor_call(FID_RECLAIM, 0, 0, 0, 0, 0);
		struct chunk *chunk;

		if (ret.error || !ret.value)
			return count;
		chunk = xa_erase(&chunks, ret.value / CHUNK_SIZE);
		if (!chunk) /* of a driver that went before */
			continue;
		chunk_free(chunk);
		atomic_long_dec(&chunk_count);
		count++;
	}
}

/*
 * Makes a call of the monitor, giving memory as it asks for it: if it still has not enough, nor has
 * Linux.
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

static void reclaim_work_func(struct work_struct *work)
{
	shared_collect();
	down_write(&using);
	reclaim_all();
	up_write(&using);
}

void pool_reclaim_soon(void)
{
	mod_delayed_work(penglai_workqueue, &reclaim_work, RECLAIM_DELAY);
}

/* ---- memory pressure ---- */

static ulong count_objects(struct shrinker *shrinker, struct shrink_control *control)
{
	return atomic_long_read(&chunk_count) ?: SHRINK_EMPTY;
}

static ulong scan_objects(struct shrinker *shrinker, struct shrink_control *control)
{
	ulong count;

	if (!down_write_trylock(&using))
		return SHRINK_STOP;
	count = reclaim_all();
	up_write(&using);
	return count ?: SHRINK_STOP;
}

static struct shrinker shrinker = {
	.count_objects = count_objects,
	.scan_objects = scan_objects,
	.seeks = DEFAULT_SEEKS,
};

int pool_init(void)
{
	monitor_call(FID_SM_INIT, 0, 0, 0, 0, 0);
	return register_shrinker(&shrinker, "penglai");
}

/* No enclave lives any more: everything comes back, what they have left on its way included. */
void pool_exit(void)
{
	unregister_shrinker(&shrinker);
	cancel_delayed_work_sync(&reclaim_work);
	monitor_call(FID_SM_INIT, 0, 0, 0, 0, 0);
	down_write(&using);
	reclaim_all();
	up_write(&using);
	if (!xa_empty(&chunks))
		pr_warn("penglai: the monitor keeps memory: it is lost\n");
	xa_destroy(&chunks);
}
