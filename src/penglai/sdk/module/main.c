// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * penglai.ko: the driver between host programs and the secure monitor.  Nothing in it is trusted:
 * whatever it does, enclaves are the monitor's.
 */
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include "penglai.h"

struct device *penglai_device;
struct workqueue_struct *penglai_workqueue;

static struct platform_device *platform;

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

/* A device of the driver's own, for memory from CMA. */
static int make_device(void)
{
	int error;

	platform = platform_device_register_simple("penglai", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(platform))
		return PTR_ERR(platform);
	penglai_device = &platform->dev;
	error = dma_coerce_mask_and_coherent(penglai_device, DMA_BIT_MASK(64));
	if (error)
		platform_device_unregister(platform);
	return error;
}

static int __init penglai_init(void)
{
	int error;

	if (!sbi_probe_extension(SBI_EXT_PENGLAI)) {
		pr_err("penglai: this machine has no Penglai monitor\n");
		return -ENODEV;
	}
	penglai_workqueue = alloc_workqueue("penglai", WQ_MEM_RECLAIM, 0);
	if (!penglai_workqueue)
		return -ENOMEM;
	error = make_device();
	if (error)
		goto no_device;
	error = pool_init();
	if (error)
		goto no_pool;
	error = events_init();
	if (error)
		goto no_events;
	error = misc_register(&misc);
	if (!error)
		return 0;
	events_exit();
no_events:
	pool_exit();
no_pool:
	platform_device_unregister(platform);
no_device:
	destroy_workqueue(penglai_workqueue);
	return error;
}

static void __exit penglai_exit(void)
{
	misc_deregister(&misc);
	owners_exit();
	events_exit();
	pool_exit();
	destroy_workqueue(penglai_workqueue);
	shared_exit();
	platform_device_unregister(platform);
}

module_init(penglai_init);
module_exit(penglai_exit);

MODULE_DESCRIPTION("Penglai enclaves");
MODULE_AUTHOR("The pypenglai authors");
MODULE_LICENSE("Dual MIT/GPL");
