// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Laying out an image: what the monitor copies an enclave from.  One contiguous piece:
 *
 *   a page of zeros: every page without content is this one
 *   the Sv39 table that describes the image, root first
 *   the pages with content
 */
#include <linux/align.h>
#include <linux/errno.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/string.h>
#include "abi.h"
#include "image.h"

#define PTE_V 1ULL
#define PTE_U 16ULL
#define PTE_PPN_SHIFT 10

#define TABLE_ENTRIES 512
#define LEAF_SHIFT 21
#define MIDDLE_SHIFT 30

/* Pages, counted first and then filled in: both go the same way, by `visit`. */
struct layout {
	const void *elf;
	const struct program *program;
	int first; /* of the program's segments: those before it lie before the page */
	u64 last; /* address of the page before, or ~0 */
	ulong tables, filled;

	/* Filling in. */
	struct contig *image; /* NULL while counting */
	u64 *root, *middle, *leaf;
	ulong next_table, next_page; /* pages of the image */
};

static void *page_at(const struct layout *layout, ulong page)
{
	return layout->image->virt + page * PAGE_SIZE;
}

static u64 entry_for(const struct layout *layout, ulong page, u64 bits)
{
	return ((layout->image->pa >> PAGE_SHIFT) + page) << PTE_PPN_SHIFT | bits | PTE_V;
}

static u64 *new_table(struct layout *layout, u64 *parent, ulong slot)
{
	ulong page = layout->next_table++;

	if (parent)
		parent[slot] = entry_for(layout, page, 0);
	return page_at(layout, page);
}

/* The tables for an address; addresses come in ascending order. */
static void need_tables(struct layout *layout, u64 address)
{
	bool first = layout->last == ~0ULL;
	bool middle = first || address >> MIDDLE_SHIFT != layout->last >> MIDDLE_SHIFT;
	bool leaf = middle || address >> LEAF_SHIFT != layout->last >> LEAF_SHIFT;

	layout->tables += middle + leaf;
	if (!layout->image)
		return;
	if (middle)
		layout->middle =
			new_table(layout, layout->root, (address >> MIDDLE_SHIFT) % TABLE_ENTRIES);
	if (leaf)
		layout->leaf =
			new_table(layout, layout->middle, (address >> LEAF_SHIFT) % TABLE_ENTRIES);
}

/* Adds a page of the enclave. filled: it has content, which goes to the next page of the image. */
static void place(struct layout *layout, u64 address, u8 permissions, bool filled)
{
	need_tables(layout, address);
	layout->last = address;
	layout->filled += filled;
	if (!layout->image)
		return;
	layout->leaf[(address >> PAGE_SHIFT) % TABLE_ENTRIES] =
		entry_for(layout, filled ? layout->next_page++ : 0, permissions | PTE_U);
}

/* Copies what a segment has in a page, and tells whether it has anything there. */
static bool copy_part(const struct layout *layout, const struct segment *segment, u64 address)
{
	u64 start = max(address, segment->start);
	u64 end = min(address + PAGE_SIZE, segment->start + segment->filled);

	if (start >= end)
		return false;
	if (layout->image)
		memcpy(page_at(layout, layout->next_page) + (start - address),
		       layout->elf + segment->offset + (start - segment->start), end - start);
	return true;
}

/* Adds one page of the program. Where there is a segment, a section's zeros are ignored. */
static int visit(struct layout *layout, u64 address)
{
	const struct program *program = layout->program;
	u8 permissions = 0, zeros = 0;
	bool filled = false;
	int i;

	for (i = layout->first; i < program->count; i++) {
		const struct segment *segment = &program->segments[i];

		if (segment->start >= address + PAGE_SIZE)
			break;
		if (segment->start + segment->size <= address) {
			layout->first += i == layout->first;
			continue;
		}
		if (segment->zeros)
			zeros |= segment->permissions;
		else
			permissions |= segment->permissions;
		filled |= copy_part(layout, segment, address);
	}
	if ((permissions & (PTE_W | PTE_X)) == (PTE_W | PTE_X))
		return -EINVAL;
	place(layout, address, permissions ?: zeros, filled);
	return 0;
}

/* The first page of a segment that none before it has; covered: where those before it end. */
static u64 first_page(const struct segment *segment, u64 covered)
{
	return max_t(u64, ALIGN_DOWN(segment->start, PAGE_SIZE), ALIGN(covered, PAGE_SIZE));
}

/* How many pages the program has. */
static ulong count_pages(const struct program *program)
{
	u64 covered = 0;
	ulong pages = 0;
	int i;

	for (i = 0; i < program->count; i++) {
		const struct segment *segment = &program->segments[i];
		u64 end = segment->start + segment->size, address = first_page(segment, covered);

		if (address < end)
			pages += DIV_ROUND_UP(end - address, PAGE_SIZE);
		covered = max(covered, end);
	}
	return pages;
}

static int visit_program(struct layout *layout)
{
	u64 covered = 0;
	int error = 0, i;

	for (i = 0; i < layout->program->count; i++) {
		const struct segment *segment = &layout->program->segments[i];
		u64 end = segment->start + segment->size, address = first_page(segment, covered);

		for (; address < end && !error; address += PAGE_SIZE) {
			error = visit(layout, address);
			cond_resched();
		}
		if (error)
			return error;
		covered = max(covered, end);
	}
	return 0;
}

/* All pages of the program, then those of the stack. */
static int visit_all(struct layout *layout, ulong stack_size)
{
	u64 address;
	int error;

	layout->last = ~0ULL;
	layout->first = 0;
	error = visit_program(layout);
	if (error)
		return error;
	for (address = ENCLAVE_STACK_TOP - stack_size; address < ENCLAVE_STACK_TOP;
	     address += PAGE_SIZE)
		place(layout, address, PTE_R | PTE_W, false);
	return 0;
}

/*
 * Builds the image of a program with a stack of stack_size bytes, whole pages or none.  The caller
 * frees it. -EINVAL if code and data share a page, -ENOMEM if it is more than there is.
 */
int image_build(const void *elf, const struct program *program, ulong stack_size,
		struct contig *image)
{
	struct layout layout = { .elf = elf, .program = program };
	int error;

	if (count_pages(program) + stack_size / PAGE_SIZE > totalram_pages())
		return -ENOMEM;
	error = visit_all(&layout, stack_size);
	if (error)
		return error;
	error = contig_alloc(image, (2 + layout.tables + layout.filled) * PAGE_SIZE);
	if (error)
		return error;
	layout = (struct layout){ .elf = elf,
				  .program = program,
				  .image = image,
				  .next_table = 1,
				  .next_page = 2 + layout.tables };
	layout.root = new_table(&layout, NULL, 0);
	return visit_all(&layout, stack_size);
}
