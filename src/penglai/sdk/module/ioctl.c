// SPDX-License-Identifier: GPL-2.0 OR MIT
/* The system calls of host programs: one handler table. */
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "penglai.h"

typedef long handler(struct penglai_file *file, void __user *argument);

/* ---- enclaves ---- */

static long call_create(struct penglai_file *file, void __user *argument)
{
	struct penglai_user_param __user *user = argument;
	struct penglai_user_param param;
	struct enclave *enclave;
	long error = 0;

	if (copy_from_user(&param, user, sizeof(param)))
		return -EFAULT;
	enclave = enclave_create(&param);
	if (IS_ERR(enclave))
		return PTR_ERR(enclave);
	if (put_user((u64)enclave->eid, &user->eid) || put_user(0, &user->is_shadow)) {
		enclave_destroy(enclave);
		error = -EFAULT;
	}
	enclave_put(enclave);
	return error;
}

static long call_run(struct penglai_file *file, void __user *argument)
{
	struct penglai_user_param __user *user = argument;
	struct penglai_user_param param;
	struct enclave *enclave;
	long result;

	if (copy_from_user(&param, user, sizeof(param)))
		return -EFAULT;
	enclave = enclave_find(param.eid);
	if (!enclave)
		return -EINVAL;
	result = enclave->kind == PENGLAI_SERVER ? -EFAULT : enclave_run(enclave, &param, user);
	enclave_put(enclave);
	return result;
}

/* The calls that need nothing but the eid. */
static long with_enclave(void __user *argument, int (*call)(struct enclave *))
{
	struct penglai_user_param __user *user = argument;
	struct enclave *enclave;
	long result;
	u64 eid;

	if (get_user(eid, &user->eid))
		return -EFAULT;
	enclave = enclave_find(eid);
	if (!enclave)
		return -EINVAL;
	result = call(enclave);
	enclave_put(enclave);
	return result;
}

static long call_stop(struct penglai_file *file, void __user *argument)
{
	return with_enclave(argument, enclave_stop);
}

static long call_resume(struct penglai_file *file, void __user *argument)
{
	return with_enclave(argument, enclave_resume);
}

static long call_destroy(struct penglai_file *file, void __user *argument)
{
	return with_enclave(argument, enclave_destroy);
}

static long attest(struct enclave *enclave, u64 nonce, u8 __user *report)
{
	u8 *copy = kzalloc(PENGLAI_REPORT_BYTES, GFP_KERNEL);
	struct sbiret ret;
	long error;

	if (!copy)
		return -ENOMEM;
	ret = enclave_call(enclave, FID_ATTEST, virt_to_phys(copy), nonce, 0, 0);
	error = monitor_errno(ret.error);
	if (!error && copy_to_user(report, copy, PENGLAI_REPORT_BYTES))
		error = -EFAULT;
	kfree(copy);
	return error;
}

static long call_attest(struct penglai_file *file, void __user *argument)
{
	struct penglai_attest_param __user *user = argument;
	struct enclave *enclave;
	long result;
	u64 nonce;
	s32 eid;

	if (get_user(eid, &user->eid) || get_user(nonce, &user->nonce))
		return -EFAULT;
	enclave = eid < 0 ? NULL : enclave_find(eid);
	if (!enclave)
		return -EINVAL;
	result = attest(enclave, nonce, user->report);
	enclave_put(enclave);
	return result;
}

static long call_debug_print(struct penglai_file *file, void __user *argument)
{
	return monitor_errno(monitor_call(FID_DEBUG_PRINT, 0, 0, 0, 0, 0).error);
}

/* ---- memory ---- */

static long get(enum shared_kind kind, void __user *argument)
{
	struct penglai_get_param __user *user = argument;
	u64 size;

	if (get_user(size, &user->size))
		return -EFAULT;
	return shared_make(kind, size);
}

static long at(struct penglai_file *file, enum shared_kind kind, void __user *argument)
{
	struct penglai_at_param __user *user = argument;
	ulong size;
	long error;
	s32 id;

	if (get_user(id, &user->id))
		return -EFAULT;
	error = shared_attach(file, kind, id, &size);
	if (!error && put_user((u64)size, &user->size))
		error = -EFAULT;
	return error;
}

static long dt(enum shared_kind kind, void __user *argument)
{
	struct penglai_dt_param __user *user = argument;
	ulong size;
	long error;
	s32 id;

	if (get_user(id, &user->id))
		return -EFAULT;
	error = shared_size(kind, id, &size);
	if (!error && put_user((u64)size, &user->size))
		error = -EFAULT;
	return error;
}

static long with_id(void __user *argument, enum shared_kind kind,
		    int (*call)(enum shared_kind, int))
{
	s32 __user *user = argument;
	s32 id;

	if (get_user(id, user))
		return -EFAULT;
	return call(kind, id);
}

static int use_for_sectors(enum shared_kind kind, int id)
{
	struct file *disk = filp_open(PENGLAI_DISK, O_RDWR | O_CREAT | O_LARGEFILE, 0644);
	int error;

	if (IS_ERR(disk))
		return PTR_ERR(disk);
	error = shared_use_for_sectors(id, disk);
	if (error)
		fput(disk);
	return error;
}

static long call_shmget(struct penglai_file *file, void __user *argument)
{
	return get(SHARED_SHM, argument);
}

static long call_shmat(struct penglai_file *file, void __user *argument)
{
	return at(file, SHARED_SHM, argument);
}

static long call_shmdt(struct penglai_file *file, void __user *argument)
{
	return dt(SHARED_SHM, argument);
}

static long call_shmctl(struct penglai_file *file, void __user *argument)
{
	return with_id(argument, SHARED_SHM, shared_remove);
}

static long call_relay_get(struct penglai_file *file, void __user *argument)
{
	return get(SHARED_RELAY, argument);
}

static long call_relay_at(struct penglai_file *file, void __user *argument)
{
	return at(file, SHARED_RELAY, argument);
}

static long call_relay_dt(struct penglai_file *file, void __user *argument)
{
	return dt(SHARED_RELAY, argument);
}

static long call_relay_ctl(struct penglai_file *file, void __user *argument)
{
	return with_id(argument, SHARED_RELAY, shared_remove);
}

static long call_persistency_init(struct penglai_file *file, void __user *argument)
{
	return with_id(argument, SHARED_SHM, use_for_sectors);
}

/* ---- the table ---- */

static const struct {
	unsigned int command;
	handler *handler;
} calls[] = {
	{ PENGLAI_CREATE, call_create },
	{ PENGLAI_RUN, call_run },
	{ PENGLAI_ATTEST, call_attest },
	{ PENGLAI_STOP, call_stop },
	{ PENGLAI_RESUME, call_resume },
	{ PENGLAI_DESTROY, call_destroy },
	{ PENGLAI_DEBUG_PRINT, call_debug_print },
	{ PENGLAI_SHMGET, call_shmget },
	{ PENGLAI_SHMAT, call_shmat },
	{ PENGLAI_SHMDT, call_shmdt },
	{ PENGLAI_SHMCTL, call_shmctl },
	{ PENGLAI_RELAY_GET, call_relay_get },
	{ PENGLAI_RELAY_AT, call_relay_at },
	{ PENGLAI_RELAY_DT, call_relay_dt },
	{ PENGLAI_RELAY_CTL, call_relay_ctl },
	{ PENGLAI_PERSISTENCY_INIT, call_persistency_init },
};

long penglai_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		if (calls[i].command == command)
			return calls[i].handler(file->private_data, (void __user *)argument);
	}
	return -ENOTTY;
}
