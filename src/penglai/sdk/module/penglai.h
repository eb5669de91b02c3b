/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What the files of the driver share.
 *
 * The monitor is the truth about enclaves: it knows every state and serialises the calls on one
 * enclave.  The driver keeps records, so that whoever waits is woken, and that everything is given
 * back.
 *
 * The files, each of which calls only those that stand before it:
 *   base.c monitor.c contig.c pool.c      Linux's part, the monitor's calls, memory
 *   elf.c image.c                         programs
 *   owner.c shared.c enclave.c            records: of processes, memory that is seen, enclaves
 *   create.c ocall.c run.c event.c        what is done with an enclave
 *   reclaim.c ending.c ioctl.c main.c     what sets it off
 *
 * Locks, outermost first:
 *   using         rwsem   what the monitor has been given and not yet used (pool.c)
 *   owners_lock   mutex   owners, memories, and what an owner has
 *   shared.lock   mutex   where relay pages are (shared.c)
 *   xa_lock       irq     the enclaves by id
 *   enclave.lock  irq     what the record says of a run
 * None but `using` is held over a call that enters an enclave, and none over a wait or an access to
 * a program's memory.
 */
#ifndef PENGLAI_H
#define PENGLAI_H

#include <linux/bitmap.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/mm_types.h>
#include <linux/pid.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <asm/sbi.h>
#include "abi.h"
#include "image.h"

#define CHUNK_SIZE (2UL << 20)

/* ---- base.c ---- */

extern struct device *penglai_device;
extern struct workqueue_struct *penglai_workqueue;

int base_init(void);
void base_exit(void);

/* ---- monitor.c ---- */

struct sbiret monitor_call(enum penglai_fid fid, ulong a0, ulong a1, ulong a2, ulong a3, ulong a4);
int monitor_errno(long error);
int monitor_set_limits(void);

/* ---- pool.c: memory that the monitor has (contig.c: image.h) ---- */

extern struct delayed_work pool_reclaim_work;

void pool_init(void);
void pool_exit(void);
void pool_begin_use(void);
void pool_end_use(void);
int pool_give(ulong pages);
struct sbiret pool_call(enum penglai_fid fid, ulong a0, ulong a1, ulong a2, ulong a3, ulong a4);
void pool_reclaim(void);
ulong pool_try_reclaim(void);
ulong pool_size(void);
void pool_reclaim_soon(void);

/* ---- owner.c: address spaces that have made something ---- */

struct penglai_owner {
	struct kref ref;
	struct list_head node; /* of owners, while it lives */
	struct mm_struct *mm; /* its count is held, not its users: for comparing */
	struct pid *pid;
	wait_queue_entry_t exit_wait;
	struct delayed_work exit_work;
	struct list_head memories;
	struct shared *sectors; /* where sectors of its enclaves pass, or NULL */
	struct file *disk; /* where they are kept, or NULL */
	bool dead;
};

extern struct mutex owners_lock;

struct penglai_owner *owner_get_current(void);
void owner_put(struct penglai_owner *owner);
bool owner_is_over(struct penglai_owner *owner);
void owner_bury(struct penglai_owner *owner);
struct penglai_owner *owner_first(void);
void owners_init(work_func_t end);
void owners_sweep(void);

/* ---- shared.c: memory that enclaves get to see ---- */

enum shared_kind { SHARED_SHM, SHARED_RELAY };

/*
 * References: its id, each mapping, each enclave that has it, and each open file on which it is
 * attached.
 */
struct shared {
	struct kref ref;
	struct list_head node; /* of its owner, while it has an id; later of strays */
	struct penglai_owner *owner;
	enum shared_kind kind;
	int id;
	struct contig mem;
	ulong *away; /* relay: a bit for each page that is lent */
	ulong *astray; /* those of them that some enclave has after the run is over */
	struct mutex lock; /* of both, and of what is mapped */
};

struct penglai_file {
	struct mutex lock; /* of what is attached */
	struct shared *attached; /* what the next mmap maps */
};

void shared_exit(void);
void shared_collect(void);
int shared_make(enum shared_kind kind, ulong size);
int shared_attach(struct penglai_file *file, enum shared_kind kind, int id, ulong *size);
int shared_size(enum shared_kind kind, int id, ulong *size);
int shared_remove(enum shared_kind kind, int id);
int shared_use_for_sectors(int id, struct file *disk);
void shared_drop_all(struct penglai_owner *owner);
struct shared *shared_find(enum shared_kind kind, int id);
void shared_put(struct shared *shared);
int shared_mmap(struct file *file, struct vm_area_struct *vma);
void shared_opened(struct inode *inode, struct file *file);
int shared_lend(struct shared *shared, ulong offset, ulong size);
void shared_take_back(struct shared *shared, ulong offset, ulong size);

/* ---- enclave.c: records ---- */

#define NO_EVENT (-1)

struct enclave {
	struct kref ref;
	u32 eid;
	enum penglai_kind kind;
	char name[PENGLAI_NAME_BYTES];
	ulong stack_size;
	struct penglai_owner *owner;
	struct enclave_page *page;
	void *kbuffer;
	struct shared *shm;
	ulong shm_offset, shm_size;
	size_t written; /* of the text that its request is to write; the runner's */

	wait_queue_head_t wait;
	spinlock_t lock; /* of what follows */
	struct pid *runner; /* the thread whose run it is, or NULL */
	bool attached; /* that thread is inside the run */
	int event; /* a value that nobody has dealt with, or NO_EVENT */
	bool resumed;
	bool ended;
	int outcome; /* of the run, once ended: 0 or a negative errno */
	u64 retval;
	struct shared *relay; /* what it has of the host's, or NULL */
	ulong relay_offset, relay_size;
};

/* A page of the host's that the monitor writes to. */
struct enclave_page {
	union {
		struct penglai_create_param create;
		struct penglai_shadow_run_param shadow_run;
	};
	struct penglai_run_param run;
	u32 eid;
	u32 reserved;
	u64 words[5];
};

enum { WORD_OCALL, WORD_ARG0, WORD_ARG1, WORD_SYSCALL, WORD_RETVAL };

struct enclave *enclave_alloc(struct penglai_owner *owner, enum penglai_kind kind,
			      const char *name);
void enclave_put(struct enclave *enclave);
int enclave_publish(struct enclave *enclave);
struct enclave *enclave_find(u64 eid);
void enclave_event(u32 eid, int value);
void enclave_ended(struct enclave *enclave, int outcome, u64 retval);
struct sbiret enclave_call(struct enclave *enclave, enum penglai_fid fid, ulong a1, ulong a2,
			   ulong a3, ulong a4);
struct penglai_mailbox enclave_mailbox(const struct enclave *enclave);
u64 enclave_word(const struct enclave *enclave, int word);
phys_addr_t enclave_shm(const struct enclave *enclave);
int enclave_stop(struct enclave *enclave);
int enclave_resume(struct enclave *enclave);
int enclave_destroy(struct enclave *enclave);
bool enclaves_destroy_all(struct penglai_owner *owner);
void enclave_return_relay(struct enclave *enclave);

/* ---- create.c ---- */

struct enclave *enclave_create(const struct penglai_user_param *param);
struct enclave *enclave_instantiate(struct enclave *shadow, struct shared *relay, ulong offset,
				    ulong size, int *value);

/* ---- run.c, ocall.c, event.c ---- */

long enclave_run(struct enclave *enclave, struct penglai_user_param *param,
		 struct penglai_user_param __user *user);
int ocall_serve(struct enclave *enclave, struct sbiret *ret);

int events_init(void);
void events_exit(void);

/* ---- reclaim.c, ending.c ---- */

int reclaim_init(void);
void reclaim_exit(void);
void ending_init(void);
void ending_exit(void);

/* ---- ioctl.c ---- */

long penglai_ioctl(struct file *file, unsigned int command, unsigned long argument);

#endif
