// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Owners: the address spaces that enclaves and shared memory belong to.
 *
 * What a process has made ends with the process, however it ends and whoever else holds its files
 * open: the driver waits on the process as a pidfd does.  An address space that is gone by exec is
 * found at the next open.
 */
#include <linux/mutex.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include "penglai.h"

/* The outermost lock: of owners, of memories and their ids, and of what an owner has. */
DEFINE_MUTEX(owners_lock);
static LIST_HEAD(owners);

/* Ends an owner whose process has ended or gone on with another address space: ending.c's. */
static work_func_t end_func;

/* Whether the process has ended, with all its threads. */
bool owner_is_over(struct penglai_owner *owner)
{
	struct task_struct *leader;
	bool over;

	rcu_read_lock();
	leader = pid_task(owner->pid, PIDTYPE_TGID);
	over = !leader || (leader->exit_state && thread_group_empty(leader));
	rcu_read_unlock();
	return over;
}

/* Called in the exiting task, under a spinlock. */
static int on_exit(wait_queue_entry_t *wait, unsigned int mode, int flags, void *key)
{
	struct penglai_owner *owner = container_of(wait, struct penglai_owner, exit_wait);

	queue_delayed_work(penglai_workqueue, &owner->exit_work, 0);
	return 0;
}

/* Takes a dead owner off the list, and gives the list's reference up. */
void owner_bury(struct penglai_owner *owner)
{
	bool buried;

	mutex_lock(&owners_lock);
	buried = list_empty(&owner->node);
	list_del_init(&owner->node);
	mutex_unlock(&owners_lock);
	if (buried)
		return;
	remove_wait_queue(&owner->pid->wait_pidfd, &owner->exit_wait);
	owner_put(owner);
}

static void owner_release(struct kref *ref)
{
	struct penglai_owner *owner = container_of(ref, struct penglai_owner, ref);

	put_pid(owner->pid);
	mmdrop(owner->mm);
	kfree(owner);
}

void owner_put(struct penglai_owner *owner)
{
	kref_put(&owner->ref, owner_release);
}

static struct penglai_owner *owner_find(struct mm_struct *mm)
{
	struct penglai_owner *owner;

	lockdep_assert_held(&owners_lock);
	list_for_each_entry(owner, &owners, node) {
		if (owner->mm == mm && !owner->dead)
			return owner;
	}
	return NULL;
}

static struct penglai_owner *owner_make(void)
{
	struct penglai_owner *owner = kzalloc(sizeof(*owner), GFP_KERNEL);

	if (!owner)
		return NULL;
	kref_init(&owner->ref);
	INIT_LIST_HEAD(&owner->memories);
	INIT_DELAYED_WORK(&owner->exit_work, end_func);
	mmgrab(current->mm);
	owner->mm = current->mm;
	owner->pid = get_task_pid(current, PIDTYPE_TGID);
	init_waitqueue_func_entry(&owner->exit_wait, on_exit);
	add_wait_queue(&owner->pid->wait_pidfd, &owner->exit_wait);
	list_add(&owner->node, &owners);
	return owner;
}

/* The owner that the caller's address space is, with a reference; NULL if there is no memory. */
struct penglai_owner *owner_get_current(void)
{
	struct penglai_owner *owner;

	mutex_lock(&owners_lock);
	owner = owner_find(current->mm) ?: owner_make();
	if (owner)
		kref_get(&owner->ref);
	mutex_unlock(&owners_lock);
	return owner;
}

/* Ends the owners whose process has gone on with another address space. */
void owners_sweep(void)
{
	struct penglai_owner *owner;

	mutex_lock(&owners_lock);
	list_for_each_entry(owner, &owners, node) {
		if (!atomic_read(&owner->mm->mm_users) && !owner->dead) {
			WRITE_ONCE(owner->dead, true);
			queue_delayed_work(penglai_workqueue, &owner->exit_work, 0);
		}
	}
	mutex_unlock(&owners_lock);
}

/* The first owner that is not buried, with a reference; NULL if there is none. */
struct penglai_owner *owner_first(void)
{
	struct penglai_owner *owner;

	mutex_lock(&owners_lock);
	owner = list_first_entry_or_null(&owners, struct penglai_owner, node);
	if (owner)
		kref_get(&owner->ref);
	mutex_unlock(&owners_lock);
	return owner;
}

void owners_init(work_func_t end)
{
	end_func = end;
}
