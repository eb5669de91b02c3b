// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Requests of enclaves, served in the thread that runs the enclave. */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/mutex.h>
#include <linux/uio.h>
#include "penglai.h"

#define STDOUT 1

/* Some files, such as /dev/null, take text from programs only; most take the kernel's as well. */
static ssize_t write_some(struct file *file, const char *text, size_t size)
{
	struct kvec part = { .iov_base = (void *)text, .iov_len = size };
	struct iov_iter iter;
	struct kiocb kiocb;

	if (!file->f_op->write)
		return kernel_write(file, text, size, &file->f_pos);
	if (!file->f_op->write_iter)
		return -EINVAL;
	init_sync_kiocb(&kiocb, file);
	kiocb.ki_pos = file->f_pos;
	iov_iter_kvec(&iter, WRITE, &part, 1, size);
	return call_write_iter(file, &kiocb, &iter);
}

static bool is_interrupted(ssize_t error)
{
	return error == -ERESTARTSYS || error == -EINTR;
}

/*
 * Writes text to a file as the program itself would; how much of it was written before a signal
 * came.  What the file does not take is lost.
 */
static size_t write_file(struct file *file, const char *text, size_t size)
{
	bool positioned = file->f_mode & FMODE_ATOMIC_POS;
	ssize_t count = 0;
	size_t done = 0;

	if (positioned)
		mutex_lock(&file->f_pos_lock);
	while (done < size && !is_interrupted(count)) {
		count = write_some(file, text + done, size - done);
		if (count > 0)
			done += count;
		else if (!is_interrupted(count))
			done = size;
	}
	if (positioned)
		mutex_unlock(&file->f_pos_lock);
	return done;
}

/*
 * Text goes where the program's own does: to its standard output, or to the kernel's log if it has
 * none. Returns how much of it is done.
 */
static size_t write_text(const struct enclave *enclave, const char *text, size_t size)
{
	struct file *file = fget(STDOUT);
	size_t done = size;

	if (!file || !(file->f_mode & FMODE_CAN_WRITE))
		pr_info_ratelimited("penglai: enclave %u: %.*s\n", enclave->eid, (int)size, text);
	else
		done = write_file(file, text, size);
	if (file)
		fput(file);
	return done;
}

/*
 * The kernel buffer is the enclave's too: the text is copied before it is looked at.  -ERESTARTSYS
 * if a signal came before all was written: the rest follows when the call goes on.
 */
static int serve_write(struct enclave *enclave)
{
	char *text = (char *)__get_free_page(GFP_KERNEL);
	size_t size;

	if (!text)
		return 0;
	memcpy(text, enclave->kbuffer, PAGE_SIZE);
	size = strnlen(text, PAGE_SIZE);
	if (enclave->written < size)
		enclave->written +=
			write_text(enclave, text + enclave->written, size - enclave->written);
	free_page((ulong)text);
	if (enclave->written < size && !READ_ONCE(enclave->ended))
		return -ERESTARTSYS;
	enclave->written = 0;
	return 0;
}

/* Lets the enclave go on. */
static void answer(struct enclave *enclave, u64 ocall, ulong size, struct sbiret *ret)
{
	*ret = enclave_call(enclave, FID_RESUME, RESUME_OCALL, ocall, 0, size);
}

static int serve_memory(struct enclave *enclave, u64 size, struct sbiret *ret)
{
	int error;

	pool_begin_use();
	error = pool_give(DIV_ROUND_UP(size, PAGE_SIZE));
	answer(enclave, OCALL_SBRK, error ? 0 : size, ret);
	pool_end_use();
	return 0;
}

/* The file and the memory for the owner's sectors, with references; false if it has named none. */
static bool get_disk(struct penglai_owner *owner, struct file **disk, struct shared **sectors)
{
	bool named;

	mutex_lock(&owners_lock);
	named = owner->disk && owner->sectors;
	if (named) {
		*disk = get_file(owner->disk);
		*sectors = owner->sectors;
		kref_get(&(*sectors)->ref);
	}
	mutex_unlock(&owners_lock);
	return named;
}

/* What a file has not is zeros. */
static bool read_sector(struct file *disk, void *place, size_t size, loff_t pos)
{
	ssize_t count = 0;
	size_t done = 0;

	while (done < size) {
		count = kernel_read(disk, place + done, size - done, &pos);
		if (count <= 0)
			break;
		done += count;
	}
	memset(place + done, 0, size - done);
	return count >= 0;
}

static bool write_sector(struct file *disk, const void *place, size_t size, loff_t pos)
{
	size_t done = 0;

	while (done < size) {
		ssize_t count = kernel_write(disk, place + done, size - done, &pos);

		if (count <= 0)
			return false;
		done += count;
	}
	return true;
}

/*
 * Copies a sector between the disk and the memory that the owner has named, or the kernel buffer.
 * Enclaves write to both at any time: what goes to the disk is whatever was there. Nonzero on
 * success.
 */
static ulong serve_sector(const struct enclave *enclave, bool write, u64 sector)
{
	bool in_buffer = enclave_word(enclave, WORD_ARG1) == PENGLAI_IN_BUFFER, done;
	struct shared *sectors;
	struct file *disk;
	void *place;
	size_t size = in_buffer ? PENGLAI_SMALL_SECTOR_BYTES : PENGLAI_SECTOR_BYTES;

	if (sector >= PENGLAI_DISK_BYTES / size || !get_disk(enclave->owner, &disk, &sectors))
		return 0;
	place = in_buffer ? enclave->kbuffer : sectors->mem.virt;
	if (write)
		done = write_sector(disk, place, size, sector * size);
	else
		done = read_sector(disk, place, size, sector * size);
	shared_put(sectors);
	fput(disk);
	return done ? size : 0;
}

/*
 * Serves the request that the enclave waits with, and lets it go on: *ret is what that call came
 * back with.  Returns PENGLAI_RELAY_PAGE if the program has to answer, or -ERESTARTSYS for a
 * signal.
 */
int ocall_serve(struct enclave *enclave, struct sbiret *ret)
{
	u64 ocall = enclave_word(enclave, WORD_OCALL), argument = enclave_word(enclave, WORD_ARG0);
	ulong size = 0;
	int error;

	switch (ocall) {
	case OCALL_WRITE:
		error = serve_write(enclave);
		if (error)
			return error;
		break;
	case OCALL_SBRK:
		return serve_memory(enclave, argument, ret);
	case OCALL_READ_SECTOR:
	case OCALL_WRITE_SECTOR:
		size = serve_sector(enclave, ocall == OCALL_WRITE_SECTOR, argument);
		break;
	case OCALL_RETURN_RELAY:
		enclave_return_relay(enclave);
		return PENGLAI_RELAY_PAGE;
	}
	answer(enclave, ocall, size, ret);
	return 0;
}
