// SPDX-License-Identifier: GPL-2.0 OR MIT
/* The end of owners: what a process has made ends with it, and everything with the driver. */
#include "penglai.h"

/* A server that is being called cannot be destroyed: how long until the next try. */
#define RETRY_DELAY (HZ / 20)

/* Ends what an owner has; false if something of it has to wait. */
static bool end(struct penglai_owner *owner)
{
	if (!enclaves_destroy_all(owner))
		return false;
	shared_drop_all(owner);
	pool_reclaim_soon();
	return true;
}

static void exit_work_func(struct work_struct *work)
{
	struct penglai_owner *owner =
		container_of(to_delayed_work(work), struct penglai_owner, exit_work);

	if (!READ_ONCE(owner->dead) && !owner_is_over(owner))
		return;
	WRITE_ONCE(owner->dead, true);
	if (end(owner))
		owner_bury(owner);
	else
		queue_delayed_work(penglai_workqueue, &owner->exit_work, RETRY_DELAY);
}

void ending_init(void)
{
	owners_init(exit_work_func);
}

/* The driver goes: everything ends.  No program has a file open, and none comes in. */
void ending_exit(void)
{
	struct penglai_owner *owner;

	enclaves_destroy_all(NULL);
	while ((owner = owner_first())) {
		end(owner);
		owner_bury(owner);
		cancel_delayed_work_sync(&owner->exit_work);
		owner_put(owner);
	}
	flush_workqueue(penglai_workqueue); /* an owner that has just buried itself */
}
