// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Reads and writes physical memory from the kernel, by every mapping that there is, and says what came of it.
 *
 *     insmod peek.ko address=0x80600000; rmmod peek; dmesg
 */
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

static ulong address;
module_param(address, ulong, 0);

static const char *read(void *place)
{
	ulong word;

	__get_kernel_nofault(&word, place, ulong, fault);
	return "done";
fault:
	return "fault";
}

static const char *write(void *place)
{
	ulong word = 0x666;

	__put_kernel_nofault(place, &word, ulong, fault);
	return "done";
fault:
	return "fault";
}

static void try(const char *what, void *place)
{
	if (!place) {
		pr_info("peek: %s: no mapping\n", what);
		return;
	}
	pr_info("peek: %s: read %s\n", what, read(place));
	pr_info("peek: %s: write %s\n", what, write(place));
}

static int __init peek_init(void)
{
	struct page *page = pfn_to_page(address >> PAGE_SHIFT);
	void *mapped = vmap(&page, 1, VM_MAP, PAGE_KERNEL);
	void __iomem *device = ioremap(address, PAGE_SIZE);

	try("linear", phys_to_virt(address));
	try("vmap", mapped);
	try("ioremap", (void __force *)device);
	vunmap(mapped);
	iounmap(device);
	return 0;
}

static void __exit peek_exit(void)
{
}

module_init(peek_init);
module_exit(peek_exit);
MODULE_LICENSE("Dual MIT/GPL");
