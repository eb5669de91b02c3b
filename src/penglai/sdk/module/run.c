// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Running an enclave: the thread that does it stays in here over stops and resumes, until the
 * enclave ends or wants relay pages.
 *
 * A machine of one hart runs the enclave inside the calls that enter it, and those come back with a
 * value when Linux has something to do.  A machine of more harts says "elsewhere" at once, and an
 * event tells what came of it.
 */
#include <linux/err.h>
#include <linux/io.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>
#include "penglai.h"

/* No value: there is nothing to do until something happens to the enclave. */
#define WAIT (-1)

/* ---- whose run it is ---- */

/*
 * The caller's thread takes over; false if another thread runs the enclave.  again: it is a run of
 * this thread's own that a signal has interrupted.
 */
static bool claim(struct enclave *enclave, bool *again)
{
	bool mine;

	spin_lock_irq(&enclave->lock);
	*again = enclave->runner == task_pid(current);
	mine = !enclave->attached && (!enclave->runner || *again);
	if (mine) {
		enclave->attached = true;
		if (!enclave->runner)
			enclave->runner = get_pid(task_pid(current));
	}
	spin_unlock_irq(&enclave->lock);
	return mine;
}

/* keep: the thread is coming back to it, by a restart of the system call. */
static void let_go(struct enclave *enclave, bool keep)
{
	struct pid *runner = NULL;

	spin_lock_irq(&enclave->lock);
	enclave->attached = false;
	if (!keep)
		swap(runner, enclave->runner);
	spin_unlock_irq(&enclave->lock);
	put_pid(runner);
}

/* ---- the loop ---- */

static int enter(struct enclave *enclave)
{
	struct sbiret ret = enclave_call(enclave, FID_RESUME, RESUME_TIMER, 0, 0, 0);

	/* An error: it is stopped, already running, or gone. */
	return ret.error ? WAIT : ret.value;
}

/* The value is handled later. */
static void set_event(struct enclave *enclave, int value)
{
	spin_lock_irq(&enclave->lock);
	enclave->event = value;
	spin_unlock_irq(&enclave->lock);
}

static bool has_news(struct enclave *enclave)
{
	bool news;

	spin_lock_irq(&enclave->lock);
	news = enclave->ended || enclave->resumed || enclave->event != NO_EVENT;
	spin_unlock_irq(&enclave->lock);
	return news;
}

/* Waits for something to happen to the enclave: a value, or a negative errno for a signal. */
static int next_value(struct enclave *enclave, int *value)
{
	int error = wait_event_interruptible(enclave->wait, has_news(enclave));
	bool resumed;

	if (error)
		return error;
	spin_lock_irq(&enclave->lock);
	*value = enclave->event == NO_EVENT ? WAIT : enclave->event;
	enclave->event = NO_EVENT;
	resumed = enclave->resumed;
	enclave->resumed = false;
	spin_unlock_irq(&enclave->lock);
	if (resumed && *value == WAIT)
		*value = enter(enclave);
	return 0;
}

/*
 * Handles a value; the next one is in *value. Returns 0, PENGLAI_RELAY_PAGE if the program has to
 * act, or a negative errno.
 */
static int deal_with(struct enclave *enclave, int *value)
{
	struct sbiret ret;
	int result;

	switch (*value) {
	case VALUE_ENDED:
		enclave_ended(enclave, 0, enclave_word(enclave, WORD_RETVAL));
		return 0;
	case VALUE_FAULTED:
		enclave_ended(enclave, -EFAULT, 0);
		return 0;
	case VALUE_OCALL:
		result = ocall_serve(enclave, &ret);
		if (result == -ERESTARTSYS)
			set_event(enclave, VALUE_OCALL);
		*value = result || ret.error ? WAIT : ret.value;
		return result;
	case VALUE_TIMER:
	case VALUE_YIELD:
		cond_resched();
		if (signal_pending(current))
			return -ERESTARTSYS;
		*value = enter(enclave);
		return 0;
	default:
		return next_value(enclave, value);
	}
}

static int run_loop(struct enclave *enclave, int value)
{
	int result = 0;

	while (!result && !READ_ONCE(enclave->ended))
		result = deal_with(enclave, &value);
	return READ_ONCE(enclave->ended) ? enclave->outcome : result;
}

/* ---- beginning ---- */

/* Records that the enclave, which may have ended already, has the relay pages of a run. */
static void keep_relay(struct enclave *enclave, struct shared *relay,
		       const struct penglai_user_param *param)
{
	spin_lock_irq(&enclave->lock);
	enclave->relay = relay;
	enclave->relay_offset = param->relay_offset;
	enclave->relay_size = param->relay_size;
	spin_unlock_irq(&enclave->lock);
	if (READ_ONCE(enclave->ended))
		enclave_return_relay(enclave);
}

/* The relay pages that a program names for a run, lent; NULL for none, or an error. */
static struct shared *lend_relay(const struct penglai_user_param *param)
{
	struct shared *relay;
	int error;

	if (param->relay_id <= 0 || !param->relay_size)
		return NULL;
	relay = shared_find(SHARED_RELAY, param->relay_id);
	if (!relay)
		return ERR_PTR(-EINVAL);
	error = shared_lend(relay, param->relay_offset, param->relay_size);
	if (!error)
		return relay;
	shared_put(relay);
	return ERR_PTR(error);
}

static void unlend_relay(struct shared *relay, const struct penglai_user_param *param)
{
	if (!relay)
		return;
	shared_take_back(relay, param->relay_offset, param->relay_size);
	shared_put(relay);
}

/* Makes the first call, with relay pages or without. */
static int call_first(struct enclave *enclave, bool rerun, phys_addr_t relay, ulong size,
		      int *value)
{
	struct sbiret ret;

	enclave->page->run = (struct penglai_run_param){ .relay_pa = relay, .relay_size = size };
	if (rerun)
		ret = pool_call(FID_RESUME, enclave->eid, RESUME_OCALL, OCALL_RETURN_RELAY, relay,
				size);
	else
		ret = pool_call(FID_RUN, enclave->eid, virt_to_phys(&enclave->page->run), 0, 0, 0);
	*value = ret.value;
	return monitor_errno(ret.error);
}

/* Starts an enclave, or lets it go on with other relay pages. */
static int start(struct enclave *enclave, const struct penglai_user_param *param, bool rerun,
		 int *value)
{
	struct shared *relay = lend_relay(param);
	int error;

	if (IS_ERR(relay))
		return PTR_ERR(relay);
	error = call_first(enclave, rerun, relay ? relay->mem.pa + param->relay_offset : 0,
			   relay ? param->relay_size : 0, value);
	if (error)
		unlend_relay(relay, param);
	else if (relay)
		keep_relay(enclave, relay, param);
	return error;
}

/*
 * Makes an instance of a shadow, which takes its place in param; tells the program at once, for
 * other threads.
 */
static struct enclave *start_instance(struct enclave *shadow, struct penglai_user_param *param,
				      struct penglai_user_param __user *user, int *value)
{
	struct shared *relay = lend_relay(param);
	struct enclave *instance;

	if (IS_ERR(relay))
		return ERR_CAST(relay);
	instance =
		enclave_instantiate(shadow, relay, param->relay_offset, param->relay_size, value);
	if (IS_ERR(instance)) {
		unlend_relay(relay, param);
		return instance;
	}
	if (relay)
		keep_relay(instance, relay, param);
	param->eid = instance->eid;
	param->is_shadow = 1;
	if (put_user(param->eid, &user->eid) || put_user(param->is_shadow, &user->is_shadow)) {
		enclave_destroy(instance);
		enclave_put(instance);
		return ERR_PTR(-EFAULT);
	}
	return instance;
}

/* ---- the call ---- */

static long finish(struct enclave *enclave, int result, struct penglai_user_param __user *user)
{
	u64 retval = READ_ONCE(enclave->ended) ? enclave->retval : 0;

	if (result == -ERESTARTSYS) {
		let_go(enclave, true);
		return -ERESTARTNOINTR; /* the handler runs, and then the call goes on */
	}
	let_go(enclave, false);
	if (result < 0) /* programs find there what they have put there */
		return result;
	return put_user(retval, &user->retval) ? -EFAULT : result;
}

static long run_instance(struct enclave *shadow, struct penglai_user_param *param,
			 struct penglai_user_param __user *user)
{
	struct enclave *instance;
	bool again;
	long result;
	int value;

	instance = start_instance(shadow, param, user, &value);
	if (IS_ERR(instance))
		return PTR_ERR(instance);
	if (!claim(instance, &again)) { /* another thread has guessed the id, and runs it already */
		enclave_put(instance);
		return -EFAULT;
	}
	result = finish(instance, run_loop(instance, value), user);
	enclave_put(instance);
	return result;
}

long enclave_run(struct enclave *enclave, struct penglai_user_param *param,
		 struct penglai_user_param __user *user)
{
	bool rerun = param->rerun_reason == PENGLAI_RELAY_PAGE;
	bool again;
	int value = VALUE_TIMER, error = 0;

	if (enclave->kind == PENGLAI_SHADOW)
		return run_instance(enclave, param, user);
	if (!claim(enclave, &again))
		return -EFAULT;
	if (!again)
		error = start(enclave, param, rerun, &value);
	if (error) {
		let_go(enclave, false);
		return error;
	}
	return finish(enclave, run_loop(enclave, value), user);
}
