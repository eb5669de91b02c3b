// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Making enclaves: from a program's ELF, and instances from shadows. */
#include <linux/err.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include "penglai.h"

static const enum penglai_fid create_fid[] = {
	[PENGLAI_NORMAL] = FID_CREATE,
	[PENGLAI_SERVER] = FID_CREATE_SERVER,
	[PENGLAI_SHADOW] = FID_CREATE_SHADOW,
};

/* ---- arguments ---- */

static int check(const struct penglai_user_param *param)
{
	if (param->type > PENGLAI_SHADOW)
		return -EINVAL;
	if (param->type == PENGLAI_SERVER && !param->name[0])
		return -EINVAL;
	if (param->elf_size <= 0 || param->stack_size < 0)
		return -EINVAL;
	if (param->stack_size > ENCLAVE_STACK_TOP - ENCLAVE_MMAP_TOP)
		return -EINVAL;
	if (max(param->elf_size, param->stack_size) >> PAGE_SHIFT > totalram_pages())
		return -ENOMEM;
	return 0;
}

/* A copy of the program's ELF; nothing else of the program is read. Free it with kvfree. */
static void *copy_elf(const struct penglai_user_param *param)
{
	void *elf = kvmalloc(param->elf_size, GFP_KERNEL | __GFP_NOWARN);

	if (!elf)
		return ERR_PTR(-ENOMEM);
	if (copy_from_user(elf, u64_to_user_ptr(param->elf_ptr), param->elf_size)) {
		kvfree(elf);
		return ERR_PTR(-EFAULT);
	}
	return elf;
}

/*
 * The part of shared memory that the enclave sees; without a size, everything from the offset on.
 */
static int attach_shm(struct enclave *enclave, const struct penglai_user_param *param)
{
	ulong offset = param->shm_offset, size = param->shm_size, end;
	struct shared *shm;

	if (param->shmid <= 0)
		return 0;
	shm = shared_find(SHARED_SHM, param->shmid);
	if (!shm) /* programs of Penglai-TVM's leave any id beside a size of 0 */
		return size ? -EINVAL : 0;
	enclave->shm = shm;
	if (!size && offset < shm->mem.size)
		size = shm->mem.size - offset;
	if (!size || !PAGE_ALIGNED(offset | size) || check_add_overflow(offset, size, &end) ||
	    end > shm->mem.size)
		return -EINVAL;
	enclave->shm_offset = offset;
	enclave->shm_size = size;
	return 0;
}

/* ---- the call ---- */

/* Makes a call that creates an enclave; its value, or a negative errno. */
static long make(enum penglai_fid fid, ulong a0, ulong a1)
{
	struct sbiret ret = pool_call(fid, a0, a1, 0, 0, 0);

	return ret.error ? monitor_errno(ret.error) : ret.value;
}

static void fill_create(struct enclave *enclave, const struct program *program,
			const struct contig *image)
{
	struct penglai_create_param *param = &enclave->page->create;

	*param = (struct penglai_create_param){
		.eid_pa = virt_to_phys(&enclave->page->eid),
		.type = enclave->kind,
		.paddr = image->pa,
		.size = image->size,
		.entry = program->entry,
		.kbuffer = virt_to_phys(enclave->kbuffer),
		.kbuffer_size = PAGE_SIZE,
		.shm_paddr = enclave_shm(enclave),
		.shm_size = enclave->shm_size,
		.mailbox = enclave_mailbox(enclave),
	};
	memcpy(param->name, enclave->name, sizeof(param->name));
}

/* Has the monitor create the enclave that the record describes. */
static int create(struct enclave *enclave, const void *elf, size_t size)
{
	ulong stack = enclave->kind == PENGLAI_SHADOW ? 0 : enclave->stack_size;
	struct contig image = {};
	struct program *program;
	long made;
	int error;

	program = elf_parse(elf, size);
	if (IS_ERR(program))
		return PTR_ERR(program);
	error = image_build(elf, program, stack, &image);
	if (!error) {
		fill_create(enclave, program, &image);
		made = make(create_fid[enclave->kind], virt_to_phys(&enclave->page->create), 0);
		error = made < 0 ? made : enclave_publish(enclave);
	}
	contig_free(&image);
	kvfree(program);
	return error;
}

/* The process may have ended (another one has its memory) since the owner was found. */
static int still_there(struct enclave *enclave)
{
	if (!READ_ONCE(enclave->owner->dead))
		return 0;
	enclave_destroy(enclave);
	return -ESRCH;
}

/* The enclave, with a reference, or an error. */
struct enclave *enclave_create(const struct penglai_user_param *param)
{
	struct penglai_owner *owner;
	struct enclave *enclave;
	void *elf;
	int error;

	error = check(param);
	if (error)
		return ERR_PTR(error);
	owner = owner_get_current();
	if (!owner)
		return ERR_PTR(-ENOMEM);
	enclave = enclave_alloc(owner, param->type, param->name);
	owner_put(owner);
	if (!enclave)
		return ERR_PTR(-ENOMEM);
	enclave->stack_size = PAGE_ALIGN(param->stack_size ?: ENCLAVE_DEFAULT_STACK);
	error = attach_shm(enclave, param);
	elf = error ? ERR_PTR(error) : copy_elf(param);
	error = PTR_ERR_OR_ZERO(elf);
	if (!error) {
		error = create(enclave, elf, param->elf_size) ?: still_there(enclave);
		kvfree(elf);
	}
	if (error) {
		enclave_put(enclave);
		return ERR_PTR(error);
	}
	return enclave;
}

/* ---- instances ---- */

static void fill_instance(struct enclave *enclave, struct shared *relay, ulong offset, ulong size)
{
	struct penglai_shadow_run_param *param = &enclave->page->shadow_run;

	*param = (struct penglai_shadow_run_param){
		.size = enclave->stack_size,
		.eid_pa = virt_to_phys(&enclave->page->eid),
		.kbuffer = virt_to_phys(enclave->kbuffer),
		.kbuffer_size = PAGE_SIZE,
		.shm_paddr = enclave_shm(enclave),
		.shm_size = enclave->shm_size,
		.relay_pa = relay ? relay->mem.pa + offset : 0,
		.relay_size = relay ? size : 0,
		.mailbox = enclave_mailbox(enclave),
	};
	memcpy(param->name, enclave->name, sizeof(param->name));
}

/*
 * An instance of a shadow, which runs already: *value is what the call that entered it came back
 * with.  With a reference, or an error.  relay: lent pages for it, or NULL.
 */
struct enclave *enclave_instantiate(struct enclave *shadow, struct shared *relay, ulong offset,
				    ulong size, int *value)
{
	struct enclave *instance = enclave_alloc(shadow->owner, PENGLAI_NORMAL, shadow->name);
	long made;
	int error;

	if (!instance)
		return ERR_PTR(-ENOMEM);
	instance->stack_size = shadow->stack_size;
	if (shadow->shm) {
		kref_get(&shadow->shm->ref);
		instance->shm = shadow->shm;
		instance->shm_offset = shadow->shm_offset;
		instance->shm_size = shadow->shm_size;
	}
	fill_instance(instance, relay, offset, size);
	made = make(FID_RUN_SHADOW, shadow->eid, virt_to_phys(&instance->page->shadow_run));
	error = made < 0 ? made : enclave_publish(instance);
	if (!error)
		error = still_there(instance);
	if (error) {
		enclave_put(instance);
		return ERR_PTR(error);
	}
	*value = made;
	return instance;
}
