// SPDX-License-Identifier: GPL-2.0 OR MIT
/* What the driver needs throughout: a device, for memory from CMA, and a workqueue. */
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/platform_device.h>
#include "penglai.h"

struct device *penglai_device;
struct workqueue_struct *penglai_workqueue;

static struct platform_device *platform;

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

int base_init(void)
{
	int error;

	penglai_workqueue = alloc_workqueue("penglai", WQ_MEM_RECLAIM, 0);
	if (!penglai_workqueue)
		return -ENOMEM;
	error = make_device();
	if (error)
		destroy_workqueue(penglai_workqueue);
	return error;
}

void base_exit(void)
{
	destroy_workqueue(penglai_workqueue);
	platform_device_unregister(platform);
}
