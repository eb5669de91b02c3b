// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Requests of enclaves, served in the thread that runs the enclave. */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/mutex.h>
#include "penglai.h"

#define STDOUT 1

/* Writes text to a file as the program itself would. */
static bool write_file(struct file *file, const char *text, size_t size)
{
	bool positioned = file->f_mode & FMODE_ATOMIC_POS;
	ssize_t done;

	if (!(file->f_mode & FMODE_CAN_WRITE))
		return false;
	if (positioned)
		mutex_lock(&file->f_pos_lock);
	do {
		done = kernel_write(file, text, size, &file->f_pos);
		if (done > 0) {
			text += done;
			size -= done;
		}
	} while (done > 0 && size);
	if (positioned)
		mutex_unlock(&file->f_pos_lock);
	return true;
}

/*
 * Text goes where the program's own does: to its standard output.  A program without one: to the
 * kernel's log.
 */
static void write_text(const struct enclave *enclave, const char *text, size_t size)
{
	struct file *file = fget(STDOUT);
	bool written = false;

	if (file) {
		written = write_file(file, text, size);
		fput(file);
	}
	if (!written)
		pr_info_ratelimited("penglai: enclave %u: %.*s\n", enclave->eid, (int)size, text);
}

/* The kernel buffer is the enclave's too: the text is copied before it is looked at. */
static void serve_write(const struct enclave *enclave)
{
	char *text = (char *)__get_free_page(GFP_KERNEL);

	if (!text)
		return;
	memcpy(text, enclave->kbuffer, PAGE_SIZE);
	write_text(enclave, text, strnlen(text, PAGE_SIZE));
	free_page((ulong)text);
}

static ulong serve_memory(u64 size)
{
	return pool_give(DIV_ROUND_UP(size, PAGE_SIZE)) ? 0 : size;
}

/*
 * Moves a sector between the kernel buffer and the memory that the owner keeps sectors in; not 0 if
 * it is done.
 */
static ulong serve_sector(const struct enclave *enclave, bool write, u64 sector)
{
	ulong done = 0;
	struct shared *disk;

	mutex_lock(&owners_lock);
	disk = enclave->owner->disk;
	if (disk && sector < disk->mem.size / PENGLAI_SECTOR_BYTES) {
		void *place = disk->mem.virt + sector * PENGLAI_SECTOR_BYTES;

		memcpy(write ? place : enclave->kbuffer, write ? enclave->kbuffer : place,
		       PENGLAI_SECTOR_BYTES);
		done = PENGLAI_SECTOR_BYTES;
	}
	mutex_unlock(&owners_lock);
	return done;
}

/*
 * Serves the request that the enclave waits with, and lets it go on: *ret is what that call came
 * back with. Returns PENGLAI_RELAY_PAGE if the program has to answer.
 */
int ocall_serve(struct enclave *enclave, struct sbiret *ret)
{
	u64 ocall = enclave_word(enclave, WORD_OCALL), argument = enclave_word(enclave, WORD_ARG0);
	ulong size = 0;

	switch (ocall) {
	case OCALL_WRITE:
		serve_write(enclave);
		break;
	case OCALL_SBRK:
		size = serve_memory(argument);
		break;
	case OCALL_READ_SECTOR:
	case OCALL_WRITE_SECTOR:
		size = serve_sector(enclave, ocall == OCALL_WRITE_SECTOR, argument);
		break;
	case OCALL_RETURN_RELAY:
		enclave_return_relay(enclave);
		return PENGLAI_RELAY_PAGE;
	}
	*ret = enclave_call(enclave, FID_RESUME, RESUME_OCALL, ocall, 0, size);
	return 0;
}
