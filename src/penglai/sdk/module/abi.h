/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The interfaces on both sides of the driver: ioctls of host programs above it, calls of the
 * monitor below. docs/abi.md has the same in words.
 */
#ifndef PENGLAI_ABI_H
#define PENGLAI_ABI_H

#include <linux/types.h>

#define PENGLAI_NAME_BYTES 16
#define PENGLAI_REPORT_BYTES 328
/* A sector, and one in the kernel buffer: then the second word of the request is 1. */
#define PENGLAI_SECTOR_BYTES 4096
#define PENGLAI_SMALL_SECTOR_BYTES 512
#define PENGLAI_IN_BUFFER 1
/* As much as a disk of the embedded host has: enclaves choose the number, and the file grows. */
#define PENGLAI_DISK_BYTES (64UL << 20)

/* Where programs of Penglai-TVM expect sectors to be kept; spelt so. */
#define PENGLAI_DISK "/mnt/persistencty_file"

/* ---- host programs ---- */

#define PENGLAI_CREATE 0x8070a400U
#define PENGLAI_RUN 0x8070a401U
#define PENGLAI_ATTEST 0x8158a402U
#define PENGLAI_STOP 0x8070a403U
#define PENGLAI_RESUME 0x8070a404U
#define PENGLAI_DESTROY 0x4070a405U
#define PENGLAI_DEBUG_PRINT 0x4070a406U
#define PENGLAI_SHMGET 0x8018a410U
#define PENGLAI_SHMAT 0x8020a411U
#define PENGLAI_SHMDT 0x8018a412U
#define PENGLAI_SHMCTL 0x8004a413U
#define PENGLAI_RELAY_GET 0x8018a414U
#define PENGLAI_RELAY_AT 0x8020a415U
#define PENGLAI_RELAY_DT 0x8018a416U
#define PENGLAI_RELAY_CTL 0x8004a417U
#define PENGLAI_PERSISTENCY_INIT 0x8004a418U

/* The result of run, and rerun_reason: the enclave waits for relay pages. */
#define PENGLAI_RELAY_PAGE 1

enum penglai_kind { PENGLAI_NORMAL, PENGLAI_SERVER, PENGLAI_SHADOW };

struct penglai_user_param {
	u64 eid;
	char name[PENGLAI_NAME_BYTES];
	u32 type;
	u64 elf_ptr;
	s64 elf_size;
	s64 stack_size;
	s32 shmid;
	s32 is_shadow;
	u64 shm_offset;
	u64 shm_size;
	s32 relay_id;
	s32 rerun_reason;
	u64 relay_offset;
	u64 relay_size;
	u64 retval;
};

struct penglai_attest_param {
	s32 eid;
	s32 is_shadow;
	u64 nonce;
	u8 report[PENGLAI_REPORT_BYTES];
};

struct penglai_get_param {
	s32 key;
	u64 size;
	s32 flags;
};

struct penglai_at_param {
	s32 id;
	u64 addr;
	u64 size;
	s32 flags;
};

struct penglai_dt_param {
	s32 id;
	u64 addr;
	u64 size;
};

/* ---- the monitor ---- */

#define SBI_EXT_PENGLAI 0x100100

enum penglai_fid {
	FID_EVENT = 2,
	FID_LIMIT = 3,
	FID_DESTROY_SHADOW = 79,
	FID_SCHRODINGER_INIT = 85,
	FID_RUN_SHADOW = 87,
	FID_CREATE_SHADOW = 86,
	FID_DEBUG_PRINT = 88,
	FID_DESTROY_SERVER = 89,
	FID_CREATE_SERVER = 90,
	FID_MEMORY_RECLAIM = 91,
	FID_MEMORY_EXTEND = 92,
	FID_DESTROY = 94,
	FID_RESUME = 95,
	FID_STOP = 96,
	FID_RUN = 97,
	FID_ATTEST = 98,
	FID_CREATE = 99,
	FID_SM_INIT = 100,
};

enum penglai_error {
	ERR_GENERIC = -1,
	ERR_NO_MEMORY = -2,
	ERR_NO_SUCH_ENCLAVE = -3,
	ERR_EXISTS = -4,
	ERR_BAD_ARGUMENT = -6,
};

enum penglai_resume_reason { RESUME_TIMER, RESUME_STOP, RESUME_OCALL };

/* What run and resume come back with; EVENT_SHIFT: an event is eid << EVENT_SHIFT | value. */
enum penglai_value {
	VALUE_ENDED = 0,
	VALUE_TIMER = 1,
	VALUE_OCALL = 2,
	VALUE_YIELD = 3,
	VALUE_FAULTED = 6,
	VALUE_ELSEWHERE = 7,
};

#define EVENT_SHIFT 8

enum penglai_ocall {
	OCALL_WRITE = 3,
	OCALL_SBRK = 4,
	OCALL_READ_SECTOR = 5,
	OCALL_WRITE_SECTOR = 6,
	OCALL_RETURN_RELAY = 7,
};

/* Physical addresses of words through which the monitor tells what has happened. */
struct penglai_mailbox {
	u64 ocall_id;
	u64 ocall_arg0;
	u64 ocall_arg1;
	u64 syscall;
	u64 retval;
};

struct penglai_create_param {
	u64 eid_pa;
	char name[PENGLAI_NAME_BYTES];
	u32 type;
	u64 paddr;
	u64 size;
	u64 entry;
	u64 free_mem;
	u64 kbuffer;
	u64 kbuffer_size;
	u64 shm_paddr;
	u64 shm_size;
	struct penglai_mailbox mailbox;
};

struct penglai_run_param {
	u64 relay_pa;
	u64 relay_size;
};

struct penglai_shadow_run_param {
	u64 satp;
	u64 free_pages;
	u64 size;
	u64 eid_pa;
	u64 kbuffer;
	u64 kbuffer_size;
	u64 shm_paddr;
	u64 shm_size;
	u64 relay_pa;
	u64 relay_size;
	struct penglai_mailbox mailbox;
	char name[PENGLAI_NAME_BYTES];
};

/* ---- the address space of an enclave ---- */

#define ENCLAVE_TEXT_BASE 0x1000ULL
#define ENCLAVE_HEAP_BASE 0x1000000000ULL
#define ENCLAVE_MMAP_TOP 0x3000000000ULL
#define ENCLAVE_STACK_TOP 0x3800000000ULL
#define ENCLAVE_DEFAULT_STACK 0x10000

#endif
