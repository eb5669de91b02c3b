// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Physically contiguous memory of the host's, from the page allocator or from CMA. */
#include <linux/dma-mapping.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/mm.h>
#include "penglai.h"

#define QUIETLY (GFP_KERNEL | __GFP_NOWARN)

int contig_alloc(struct contig *contig, size_t size)
{
	*contig = (struct contig){ .size = PAGE_ALIGN(size) };
	if (!contig->size)
		return -EINVAL;
	if (contig->size <= PAGE_SIZE << (MAX_ORDER - 1))
		contig->virt = alloc_pages_exact(contig->size, QUIETLY | __GFP_ZERO);
	if (contig->virt) {
		contig->pa = virt_to_phys(contig->virt);
		return 0;
	}
	contig->virt = dma_alloc_coherent(penglai_device, contig->size, &contig->dma, QUIETLY);
	contig->pa = contig->dma;
	return contig->virt ? 0 : -ENOMEM;
}

void contig_free(struct contig *contig)
{
	if (!contig->virt)
		return;
	if (contig->dma)
		dma_free_coherent(penglai_device, contig->size, contig->virt, contig->dma);
	else
		free_pages_exact(contig->virt, contig->size);
	contig->virt = NULL;
}
