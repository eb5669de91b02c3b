// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Events: enclaves that run on other harts come back with something. */
#include <linux/interrupt.h>
#include <linux/of.h>
#include <linux/of_irq.h>
#include "penglai.h"

static int irq;

static irqreturn_t on_event(int number, void *data)
{
	irqreturn_t result = IRQ_NONE;

	for (;;) {
		struct sbiret ret = monitor_call(FID_EVENT, 0, 0, 0, 0, 0);

		if (ret.error || !ret.value)
			return result;
		enclave_event(ret.value >> EVENT_SHIFT, ret.value & ((1 << EVENT_SHIFT) - 1));
		result = IRQ_HANDLED;
	}
}

/* A machine of one hart has no interrupt: its enclaves run inside the calls that enter them. */
int events_init(void)
{
	struct device_node *node = of_find_compatible_node(NULL, NULL, "penglai,monitor");
	int error;

	irq = node ? irq_of_parse_and_map(node, 0) : 0;
	of_node_put(node);
	if (!irq)
		return 0;
	error = request_irq(irq, on_event, 0, "penglai", &irq);
	if (error) {
		irq_dispose_mapping(irq);
		irq = 0;
	}
	return error;
}

void events_exit(void)
{
	if (!irq)
		return;
	free_irq(irq, &irq);
	irq_dispose_mapping(irq);
}
