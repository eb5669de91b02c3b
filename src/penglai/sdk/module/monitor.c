// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Calls of the monitor, and what its errors mean to programs. */
#include <linux/errno.h>
#include "penglai.h"

struct sbiret monitor_call(enum penglai_fid fid, ulong a0, ulong a1, ulong a2, ulong a3, ulong a4)
{
	return sbi_ecall(SBI_EXT_PENGLAI, fid, a0, a1, a2, a3, a4, 0);
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
