// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Requests of enclaves, served in the thread that runs the enclave. */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/mutex.h>
#include <linux/uio.h>
#include "penglai.h"

#define STDOUT 1

/* Files such as /dev/null are for programs alone; most of them take the kernel's text as well. */
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
 * Text goes where the program's own does: to its standard output.  A program without one: to the
 * kernel's log.  How much of it is done with.
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
