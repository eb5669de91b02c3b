/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Programs and their images: what elf.c reads and image.c lays out.  Neither needs more of the
 * driver than this, so that both can be tested outside a kernel.
 */
#ifndef PENGLAI_IMAGE_H
#define PENGLAI_IMAGE_H

#include <linux/types.h>

#define PTE_R 2
#define PTE_W 4
#define PTE_X 8

/* Physically contiguous memory of the host's, zeroed. */
struct contig {
	void *virt;
	phys_addr_t pa;
	size_t size;
	dma_addr_t dma; /* not 0 if it came from CMA */
};

/* contig.c */
int contig_alloc(struct contig *contig, size_t size);
void contig_free(struct contig *contig);

struct segment {
	u64 start, size; /* addresses */
	u64 offset, filled; /* in the file */
	u8 permissions;
	bool zeros; /* a section's: it has what no segment has */
};

struct program {
	u64 entry;
	int count;
	struct segment segments[]; /* by address */
};

/* elf.c */
struct program *elf_parse(const void *elf, size_t size);

/* image.c */
int image_build(const void *elf, const struct program *program, ulong stack_size,
		struct contig *image);

#endif
