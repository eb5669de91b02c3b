// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Memory that enclaves get to see: shared memory, which host and enclaves use at once, and relay
 * pages, which belong to one of them at a time.
 *
 * Programs map both; the pages come with the first touch.  Relay pages that an enclave has are not
 * there: a touch is SIGBUS, and a mapping that was there is gone before the enclave gets them.
 */
#include <linux/file.h>
#include <linux/idr.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include "penglai.h"

static DEFINE_IDR(ids); /* under owners_lock; from 1 */

/*
 * All mappings are in one address space, whatever device node a program has opened: so that pages
 * can be taken out of all of them.  The inode that was opened first lends its own.
 */
static struct inode *mappings;

/* Relay pages that are no longer referenced, but of which an enclave still has some. */
static LIST_HEAD(strays);
static DEFINE_MUTEX(strays_lock);

/* ---- what the monitor has given back ---- */

static ulong pages_of(const struct shared *shared)
{
	return shared->mem.size / PAGE_SIZE;
}

static bool is_hosts(const struct shared *shared, ulong first, ulong count)
{
	return !monitor_call(FID_SCHRODINGER_INIT, shared->mem.pa + first * PAGE_SIZE,
			     count * PAGE_SIZE, 0, 0, 0)
			.error;
}

/*
 * Pages come back from a run.  An enclave may have passed some on to a server, which has them until
 * it ends: they are astray.
 */
static void come_back(struct shared *shared, ulong first, ulong count)
{
	ulong page;

	if (is_hosts(shared, first, count)) {
		bitmap_clear(shared->away, first, count);
		return;
	}
	for (page = first; page < first + count; page++) {
		if (is_hosts(shared, page, 1))
			clear_bit(page, shared->away);
		else
			set_bit(page, shared->astray);
	}
}

/* Looks which of the pages that were astray have come back; under its lock, or without references.
 */
static void look_for_strays(struct shared *shared)
{
	ulong page;

	for_each_set_bit(page, shared->astray, pages_of(shared)) {
		if (is_hosts(shared, page, 1)) {
			clear_bit(page, shared->astray);
			clear_bit(page, shared->away);
		}
	}
}

/* ---- making and unmaking ---- */

static void shared_free(struct shared *shared)
{
	contig_free(&shared->mem);
	bitmap_free(shared->away);
	bitmap_free(shared->astray);
	kfree(shared);
}

static bool has_strays(struct shared *shared)
{
	if (!shared->astray)
		return false;
	look_for_strays(shared);
	return !bitmap_empty(shared->astray, pages_of(shared));
}

static void shared_release(struct kref *ref)
{
	struct shared *shared = container_of(ref, struct shared, ref);

	if (!has_strays(shared)) {
		shared_free(shared);
		return;
	}
	mutex_lock(&strays_lock);
	list_add(&shared->node, &strays);
	mutex_unlock(&strays_lock);
}

/* Frees relay pages that have come back at last. */
void shared_collect(void)
{
	struct shared *shared, *next;

	mutex_lock(&strays_lock);
	list_for_each_entry_safe(shared, next, &strays, node) {
		if (!has_strays(shared)) {
			list_del(&shared->node);
			shared_free(shared);
		}
	}
	mutex_unlock(&strays_lock);
}

void shared_put(struct shared *shared)
{
	kref_put(&shared->ref, shared_release);
}

static struct shared *shared_alloc(enum shared_kind kind, ulong size)
{
	struct shared *shared = kzalloc(sizeof(*shared), GFP_KERNEL);

	if (!shared)
		return NULL;
	kref_init(&shared->ref);
	mutex_init(&shared->lock);
	shared->kind = kind;
	if (contig_alloc(&shared->mem, size))
		goto failed;
	if (kind == SHARED_RELAY) {
		shared->away = bitmap_zalloc(pages_of(shared), GFP_KERNEL);
		shared->astray = bitmap_zalloc(pages_of(shared), GFP_KERNEL);
		if (!shared->away || !shared->astray)
			goto failed;
	}
	return shared;
failed:
	shared_free(shared);
	return NULL;
}

/* Allocates memory for the caller; its id, or a negative errno. */
int shared_make(enum shared_kind kind, ulong size)
{
	struct penglai_owner *owner;
	struct shared *shared;
	int id;

	if (!size)
		return -EINVAL;
	if (size >> PAGE_SHIFT > totalram_pages())
		return -ENOMEM;
	shared = shared_alloc(kind, size);
	if (!shared)
		return -ENOMEM;
	owner = owner_get_current();
	if (!owner) {
		shared_put(shared);
		return -ENOMEM;
	}
	mutex_lock(&owners_lock);
	id = owner->dead ? -ESRCH : idr_alloc(&ids, shared, 1, 0, GFP_KERNEL);
	if (id > 0) {
		shared->id = id;
		shared->owner = owner;
		list_add(&shared->node, &owner->memories);
	}
	mutex_unlock(&owners_lock);
	owner_put(owner); /* which outlives the ids of its memories */
	if (id < 0)
		shared_put(shared);
	return id;
}

/* ---- finding ---- */

static struct shared *find_locked(enum shared_kind kind, int id)
{
	struct shared *shared = idr_find(&ids, id);

	lockdep_assert_held(&owners_lock);
	return shared && shared->kind == kind && shared->owner->mm == current->mm ? shared : NULL;
}

/* The caller's own memory of an id, with a reference; NULL if there is none. */
struct shared *shared_find(enum shared_kind kind, int id)
{
	struct shared *shared;

	mutex_lock(&owners_lock);
	shared = find_locked(kind, id);
	if (shared)
		kref_get(&shared->ref);
	mutex_unlock(&owners_lock);
	return shared;
}

int shared_size(enum shared_kind kind, int id, ulong *size)
{
	struct shared *shared = shared_find(kind, id);

	if (!shared)
		return -EINVAL;
	*size = shared->mem.size;
	shared_put(shared);
	return 0;
}

/* The next mmap of the file maps this memory. */
int shared_attach(struct penglai_file *file, enum shared_kind kind, int id, ulong *size)
{
	struct shared *shared = shared_find(kind, id);

	if (!shared)
		return -EINVAL;
	*size = shared->mem.size;
	mutex_lock(&file->lock);
	swap(file->attached, shared);
	mutex_unlock(&file->lock);
	if (shared)
		shared_put(shared);
	return 0;
}

/* ---- removing ---- */

/* Takes the id away: nobody can name the memory any more. */
static void forget(struct shared *shared)
{
	lockdep_assert_held(&owners_lock);
	idr_remove(&ids, shared->id);
	list_del(&shared->node);
	shared->owner = NULL;
	shared_put(shared);
}

int shared_remove(enum shared_kind kind, int id)
{
	struct shared *shared;

	mutex_lock(&owners_lock);
	shared = find_locked(kind, id);
	if (shared)
		forget(shared);
	mutex_unlock(&owners_lock);
	return shared ? 0 : -EINVAL;
}

/*
 * The sectors of the caller's enclaves pass there from now on, and are kept in a file, whose
 * reference is taken over unless the call fails.
 */
int shared_use_for_sectors(int id, struct file *disk)
{
	struct shared *shared, *before;

	mutex_lock(&owners_lock);
	shared = find_locked(SHARED_SHM, id);
	if (!shared) {
		mutex_unlock(&owners_lock);
		return -EINVAL;
	}
	kref_get(&shared->ref);
	before = shared->owner->sectors;
	shared->owner->sectors = shared;
	swap(shared->owner->disk, disk);
	mutex_unlock(&owners_lock);
	if (before)
		shared_put(before);
	if (disk)
		fput(disk);
	return 0;
}

/* An owner ends. */
void shared_drop_all(struct penglai_owner *owner)
{
	struct shared *shared, *next, *sectors;
	struct file *disk;

	mutex_lock(&owners_lock);
	list_for_each_entry_safe(shared, next, &owner->memories, node)
		forget(shared);
	sectors = owner->sectors;
	owner->sectors = NULL;
	disk = owner->disk;
	owner->disk = NULL;
	mutex_unlock(&owners_lock);
	if (sectors)
		shared_put(sectors);
	if (disk)
		fput(disk);
}

/* ---- mappings ---- */

void shared_opened(struct inode *inode, struct file *file)
{
	mutex_lock(&owners_lock);
	if (!mappings) {
		ihold(inode);
		mappings = inode;
	}
	mutex_unlock(&owners_lock);
	file->f_mapping = mappings->i_mapping;
}

void shared_exit(void)
{
	shared_collect();
	if (!list_empty(&strays))
		pr_warn("penglai: the monitor keeps relay pages: they are lost\n");
	iput(mappings);
	WARN_ON(!idr_is_empty(&ids));
	idr_destroy(&ids);
}

static bool is_there(struct shared *shared, ulong page)
{
	if (page >= pages_of(shared))
		return false;
	if (!shared->away)
		return true;
	if (test_bit(page, shared->astray))
		look_for_strays(shared);
	return !test_bit(page, shared->away);
}

static vm_fault_t on_fault(struct vm_fault *fault)
{
	struct shared *shared = fault->vma->vm_private_data;
	vm_fault_t result = VM_FAULT_SIGBUS;

	mutex_lock(&shared->lock); /* no page is put in while it is about to go */
	if (is_there(shared, fault->pgoff - (shared->mem.pa >> PAGE_SHIFT)))
		result = vmf_insert_pfn(fault->vma, fault->address, fault->pgoff);
	mutex_unlock(&shared->lock);
	return result;
}

static void on_open(struct vm_area_struct *vma)
{
	struct shared *shared = vma->vm_private_data;

	kref_get(&shared->ref);
}

static void on_close(struct vm_area_struct *vma)
{
	shared_put(vma->vm_private_data);
}

static const struct vm_operations_struct operations = {
	.fault = on_fault,
	.open = on_open,
	.close = on_close,
};

/* Maps what was attached before, from its beginning. */
int shared_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct penglai_file *opened = file->private_data;
	struct shared *shared = NULL;

	if (vma->vm_pgoff || !(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	mutex_lock(&opened->lock);
	if (opened->attached && vma->vm_end - vma->vm_start <= opened->attached->mem.size)
		swap(shared, opened->attached);
	mutex_unlock(&opened->lock);
	if (!shared)
		return -EINVAL;
	/* A place of its own in the address space of all mappings. */
	vma->vm_pgoff = shared->mem.pa >> PAGE_SHIFT;
	vma->vm_flags |= VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP;
	vma->vm_private_data = shared;
	vma->vm_ops = &operations;
	return 0;
}

/* ---- relay pages change hands ---- */

static int check_part(const struct shared *shared, ulong offset, ulong size)
{
	ulong end;

	if (!size || !PAGE_ALIGNED(offset | size) || check_add_overflow(offset, size, &end))
		return -EINVAL;
	return end > shared->mem.size ? -EINVAL : 0;
}

/*
 * Whole pages are about to go to an enclave: no program can reach them from now on. -EFAULT if some
 * are away already.
 */
int shared_lend(struct shared *shared, ulong offset, ulong size)
{
	ulong first = offset / PAGE_SIZE, count = size / PAGE_SIZE;
	int error = check_part(shared, offset, size);

	if (error)
		return error;
	mutex_lock(&shared->lock);
	look_for_strays(shared);
	if (find_next_bit(shared->away, first + count, first) < first + count) {
		error = -EFAULT;
	} else {
		bitmap_set(shared->away, first, count);
		unmap_mapping_range(mappings->i_mapping, shared->mem.pa + offset, size, 1);
	}
	mutex_unlock(&shared->lock);
	return error;
}

/* The run that the pages were lent to is over, or has returned them. */
void shared_take_back(struct shared *shared, ulong offset, ulong size)
{
	mutex_lock(&shared->lock);
	come_back(shared, offset / PAGE_SIZE, size / PAGE_SIZE);
	mutex_unlock(&shared->lock);
}
