// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * penglai.ko: the driver between host programs and the secure monitor.  Nothing in it is trusted:
 * whatever it does, enclaves are the monitor's.
 */
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include "penglai.h"

static int penglai_open(struct inode *inode, struct file *file)
{
	struct penglai_file *opened = kzalloc(sizeof(*opened), GFP_KERNEL);

	if (!opened)
		return -ENOMEM;
	mutex_init(&opened->lock);
	file->private_data = opened;
	shared_opened(inode, file);
	owners_sweep();
	return 0;
}

/* What the program has made lives on: it ends with the program, not with a file. */
static int penglai_release(struct inode *inode, struct file *file)
{
	struct penglai_file *opened = file->private_data;

	if (opened->attached)
		shared_put(opened->attached);
	kfree(opened);
	return 0;
}

static const struct file_operations operations = {
	.owner = THIS_MODULE,
	.open = penglai_open,
	.release = penglai_release,
	.unlocked_ioctl = penglai_ioctl,
	.mmap = shared_mmap,
	.llseek = noop_llseek,
};

static struct miscdevice misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "penglai_enclave_dev",
	.fops = &operations,
	.mode = 0666,
};

static int __init penglai_init(void)
{
	int error;

	if (!sbi_probe_extension(SBI_EXT_PENGLAI)) {
		pr_err("penglai: this machine has no Penglai monitor\n");
		return -ENODEV;
	}
	error = base_init();
	if (error)
		return error;
	pool_init();
	ending_init();
	error = reclaim_init();
	if (error)
		goto no_reclaim;
	error = monitor_set_limits() ?: events_init();
	if (error)
		goto no_events;
	error = misc_register(&misc);
	if (!error)
		return 0;
	events_exit();
no_events:
	reclaim_exit();
no_reclaim:
	pool_exit();
	base_exit();
	return error;
}

static void __exit penglai_exit(void)
{
	misc_deregister(&misc);
	ending_exit();
	events_exit();
	reclaim_exit();
	pool_exit();
	shared_exit();
	base_exit();
}

module_init(penglai_init);
module_exit(penglai_exit);

MODULE_DESCRIPTION("Penglai enclaves");
MODULE_AUTHOR("The pypenglai authors");
MODULE_LICENSE("Dual MIT/GPL");
