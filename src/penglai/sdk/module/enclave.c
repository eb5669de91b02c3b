// SPDX-License-Identifier: GPL-2.0 OR MIT
/* The driver's records of enclaves: found by id, referenced by whoever works with them. */
#include <linux/gfp.h>
#include <linux/sched/signal.h>
#include <linux/io.h>
#include <linux/slab.h>
#include <linux/xarray.h>
#include "penglai.h"

static DEFINE_XARRAY_FLAGS(enclaves, XA_FLAGS_LOCK_IRQ);

static const enum penglai_fid destroy_fid[] = {
	[PENGLAI_NORMAL] = FID_DESTROY,
	[PENGLAI_SERVER] = FID_DESTROY_SERVER,
	[PENGLAI_SHADOW] = FID_DESTROY_SHADOW,
};

/* ---- making and unmaking a record ---- */

static void enclave_release(struct kref *ref)
{
	struct enclave *enclave = container_of(ref, struct enclave, ref);

	if (enclave->shm)
		shared_put(enclave->shm);
	free_page((ulong)enclave->page);
	free_page((ulong)enclave->kbuffer);
	put_pid(enclave->runner);
	owner_put(enclave->owner);
	kfree(enclave);
}

void enclave_put(struct enclave *enclave)
{
	kref_put(&enclave->ref, enclave_release);
}

/* A record without an enclave yet. */
struct enclave *enclave_alloc(struct penglai_owner *owner, enum penglai_kind kind, const char *name)
{
	struct enclave *enclave = kzalloc(sizeof(*enclave), GFP_KERNEL);

	if (!enclave)
		return NULL;
	kref_init(&enclave->ref);
	kref_get(&owner->ref);
	enclave->owner = owner;
	enclave->kind = kind;
	enclave->event = NO_EVENT;
	strscpy(enclave->name, name, sizeof(enclave->name));
	init_waitqueue_head(&enclave->wait);
	spin_lock_init(&enclave->lock);
	enclave->page = (void *)get_zeroed_page(GFP_KERNEL);
	enclave->kbuffer = (void *)get_zeroed_page(GFP_KERNEL);
	if (!enclave->page || !enclave->kbuffer) {
		enclave_put(enclave);
		return NULL;
	}
	return enclave;
}

/*
 * The monitor knows the enclave by the eid in its page: from now on others find it.  The list has a
 * reference of its own, until the enclave ends.
 */
int enclave_publish(struct enclave *enclave)
{
	int error;

	enclave->eid = READ_ONCE(enclave->page->eid);
	kref_get(&enclave->ref);
	error = xa_insert_irq(&enclaves, enclave->eid, enclave, GFP_KERNEL);
	if (error) {
		monitor_call(destroy_fid[enclave->kind], enclave->eid, 0, 0, 0, 0);
		enclave_put(enclave);
	}
	return error;
}

/* The caller's own live enclave, with a reference; NULL if there is none. */
struct enclave *enclave_find(u64 eid)
{
	struct enclave *enclave;

	if (eid > U32_MAX)
		return NULL;
	xa_lock_irq(&enclaves);
	enclave = xa_load(&enclaves, eid);
	if (enclave && enclave->owner->mm == current->mm)
		kref_get(&enclave->ref);
	else
		enclave = NULL;
	xa_unlock_irq(&enclaves);
	return enclave;
}

/* ---- what happens to an enclave ---- */

/* In the interrupt: an enclave that runs elsewhere has come back with a value. */
void enclave_event(u32 eid, int value)
{
	struct enclave *enclave;

	xa_lock(&enclaves);
	enclave = xa_load(&enclaves, eid);
	if (enclave) {
		spin_lock(&enclave->lock);
		enclave->event = value;
		spin_unlock(&enclave->lock);
		wake_up_all(&enclave->wait);
	}
	xa_unlock(&enclaves);
}

/* The enclave's relay pages belong to the host again. */
void enclave_return_relay(struct enclave *enclave)
{
	struct shared *relay;

	spin_lock_irq(&enclave->lock);
	relay = enclave->relay;
	enclave->relay = NULL;
	spin_unlock_irq(&enclave->lock);
	if (!relay)
		return;
	shared_take_back(relay, enclave->relay_offset, enclave->relay_size);
	shared_put(relay);
}

/*
 * The thread that runs the enclave may sleep in a request of it, such as a write to a pipe that is
 * full: it wakes up, as from a signal, and finds that the enclave has ended.
 */
static void interrupt_runner(struct enclave *enclave)
{
	struct task_struct *task;

	rcu_read_lock();
	task = enclave->runner ? pid_task(enclave->runner, PIDTYPE_PID) : NULL;
	if (task && task != current) {
		set_tsk_thread_flag(task, TIF_NOTIFY_SIGNAL);
		wake_up_process(task);
	}
	rcu_read_unlock();
}

/*
 * The monitor no longer knows the enclave. outcome: what its run returns. Only the first end
 * counts.
 */
void enclave_ended(struct enclave *enclave, int outcome, u64 retval)
{
	bool first;

	spin_lock_irq(&enclave->lock);
	first = !enclave->ended;
	if (first) {
		enclave->ended = true;
		enclave->outcome = outcome;
		enclave->retval = retval;
	}
	spin_unlock_irq(&enclave->lock);
	if (!first)
		return;
	enclave_return_relay(enclave);
	xa_erase_irq(&enclaves, enclave->eid);
	wake_up_all(&enclave->wait);
	spin_lock_irq(&enclave->lock);
	if (enclave->attached)
		interrupt_runner(enclave);
	spin_unlock_irq(&enclave->lock);
	enclave_put(enclave);
	pool_reclaim_soon();
}

static bool has_runner(struct enclave *enclave)
{
	bool has;

	spin_lock_irq(&enclave->lock);
	has = enclave->runner;
	spin_unlock_irq(&enclave->lock);
	return has;
}

/*
 * A call of the monitor on an enclave.  It may turn out that the enclave has ended, such as a
 * server that failed.  How a run has ended is for the thread that runs it to learn: it is on its
 * way, as a value or as an event.
 */
struct sbiret enclave_call(struct enclave *enclave, enum penglai_fid fid, ulong a1, ulong a2,
			   ulong a3, ulong a4)
{
	struct sbiret ret = monitor_call(fid, enclave->eid, a1, a2, a3, a4);

	if (ret.error == ERR_NO_SUCH_ENCLAVE && !has_runner(enclave))
		enclave_ended(enclave, 0, 0);
	return ret;
}

int enclave_stop(struct enclave *enclave)
{
	return monitor_errno(enclave_call(enclave, FID_STOP, 0, 0, 0, 0).error);
}

/* Lets a stopped enclave go on: the thread that runs it enters it again. */
int enclave_resume(struct enclave *enclave)
{
	struct sbiret ret = enclave_call(enclave, FID_RESUME, RESUME_STOP, 0, 0, 0);

	if (ret.error)
		return monitor_errno(ret.error);
	spin_lock_irq(&enclave->lock);
	enclave->resumed = true;
	spin_unlock_irq(&enclave->lock);
	wake_up_all(&enclave->wait);
	return 0;
}

int enclave_destroy(struct enclave *enclave)
{
	struct sbiret ret = enclave_call(enclave, destroy_fid[enclave->kind], 0, 0, 0, 0);

	if (!ret.error)
		enclave_ended(enclave, 0, 0);
	return monitor_errno(ret.error);
}

/* ---- the end of an owner ---- */

/*
 * The next enclave of an owner (of any, for NULL), servers or others, from an id on; with a
 * reference.
 */
static struct enclave *next_of(struct penglai_owner *owner, bool servers, ulong *eid)
{
	struct enclave *enclave;

	xa_lock_irq(&enclaves);
	for (enclave = xa_find(&enclaves, eid, ULONG_MAX, XA_PRESENT); enclave;
	     enclave = xa_find_after(&enclaves, eid, ULONG_MAX, XA_PRESENT)) {
		bool server = enclave->kind == PENGLAI_SERVER;

		if ((!owner || enclave->owner == owner) && server == servers) {
			kref_get(&enclave->ref);
			break;
		}
	}
	xa_unlock_irq(&enclaves);
	return enclave;
}

/*
 * Destroys all enclaves of an owner, those first that call others; of every owner, for NULL.  False
 * if a server is being called by somebody else's enclave, and has to wait.
 */
bool enclaves_destroy_all(struct penglai_owner *owner)
{
	struct enclave *enclave;
	bool all = true;
	int servers;
	ulong eid;

	for (servers = 0; servers <= 1; servers++) {
		for (eid = 0; (enclave = next_of(owner, servers, &eid)); eid++) {
			int error = enclave_destroy(enclave);

			if (error == -EINVAL) /* it has ended, and nobody waits to learn how */
				enclave_ended(enclave, 0, 0);
			else if (error)
				all = false;
			enclave_put(enclave);
		}
	}
	return all;
}

/* ---- the page that the monitor writes to ---- */

static phys_addr_t word_pa(const struct enclave *enclave, int word)
{
	return virt_to_phys(&enclave->page->words[word]);
}

struct penglai_mailbox enclave_mailbox(const struct enclave *enclave)
{
	return (struct penglai_mailbox){
		.ocall_id = word_pa(enclave, WORD_OCALL),
		.ocall_arg0 = word_pa(enclave, WORD_ARG0),
		.ocall_arg1 = word_pa(enclave, WORD_ARG1),
		.syscall = word_pa(enclave, WORD_SYSCALL),
		.retval = word_pa(enclave, WORD_RETVAL),
	};
}

u64 enclave_word(const struct enclave *enclave, int word)
{
	return READ_ONCE(enclave->page->words[word]);
}

/* Where the enclave's part of shared memory lies, or 0. */
phys_addr_t enclave_shm(const struct enclave *enclave)
{
	return enclave->shm ? enclave->shm->mem.pa + enclave->shm_offset : 0;
}
