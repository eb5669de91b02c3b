// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What has become free is taken back: soon after an enclave has ended, and when Linux is short of
 * memory. It stands on all kinds of memory, and nothing stands on it: who ends something says
 * pool_reclaim_soon().
 */
#include <linux/mm.h>
#include <linux/shrinker.h>
#include "penglai.h"

static void reclaim_work_func(struct work_struct *work)
{
	shared_collect();
	pool_reclaim();
}

static ulong count_objects(struct shrinker *shrinker, struct shrink_control *control)
{
	return pool_size() ?: SHRINK_EMPTY;
}

static ulong scan_objects(struct shrinker *shrinker, struct shrink_control *control)
{
	return pool_try_reclaim() ?: SHRINK_STOP;
}

static struct shrinker shrinker = {
	.count_objects = count_objects,
	.scan_objects = scan_objects,
	.seeks = DEFAULT_SEEKS,
};

/* Before anybody can say pool_reclaim_soon(). */
int reclaim_init(void)
{
	INIT_DELAYED_WORK(&pool_reclaim_work, reclaim_work_func);
	return register_shrinker(&shrinker, "penglai");
}

void reclaim_exit(void)
{
	unregister_shrinker(&shrinker);
	cancel_delayed_work_sync(&pool_reclaim_work);
}
