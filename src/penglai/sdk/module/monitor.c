// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Calls of the monitor, and what its errors mean to programs. */
#include <linux/errno.h>
#include <linux/module.h>
#include "penglai.h"

/* How far an enclave can make things grow; the order is the monitor's.  0: what it has at first. */
static ulong limits[5];
module_param_array(limits, ulong, NULL, 0444);
MODULE_PARM_DESC(limits,
		 "of an enclave: pages, regions, secure memories, handles, reported servers");

struct sbiret monitor_call(enum penglai_fid fid, ulong a0, ulong a1, ulong a2, ulong a3, ulong a4)
{
	return sbi_ecall(SBI_EXT_PENGLAI, fid, a0, a1, a2, a3, a4, 0);
}

/* Limits what enclaves that are made from now on can make grow. */
int monitor_set_limits(void)
{
	struct sbiret ret;
	unsigned int kind;

	for (kind = 0; kind < ARRAY_SIZE(limits); kind++) {
		if (!limits[kind])
			continue;
		ret = monitor_call(FID_LIMIT, 0, kind, limits[kind], 0, 0);
		if (ret.error)
			return monitor_errno(ret.error);
	}
	return 0;
}

/* A negative errno for an error of the monitor's. */
int monitor_errno(long error)
{
	switch (error) {
	case 0:
		return 0;
	case ERR_NO_SUCH_ENCLAVE:
	case ERR_BAD_ARGUMENT:
		return -EINVAL;
	case ERR_NO_MEMORY:
		return -ENOMEM;
	case ERR_EXISTS:
		return -EEXIST;
	default:
		return -EFAULT;
	}
}
