/*
 * The host side of Penglai: creating, running, stopping and destroying enclaves.
 *
 *     #include "penglai-enclave.h"
 *
 *     struct PLenclave enclave;
 *     struct enclave_args params;
 *     struct elf_args elf;
 *     PLenclave_init(&enclave);
 *     enclave_args_init(&params);
 *     elf_args_init(&elf, "hello-world");
 *     PLenclave_create(&enclave, &elf, &params);
 *     PLenclave_run(&enclave);                    // returns when the enclave ends
 *     PLenclave_destruct(&enclave);
 *     elf_args_destroy(&elf);
 *
 * Unless they say otherwise, calls return 0, or -1 with errno:
 *
 *     EINVAL    there is no such enclave, or no longer, or an argument is wrong
 *     EFAULT    the enclave's state does not allow this call, or (run) it has faulted
 *     ENOMEM    there is no memory
 *
 * Threads: while one is in PLenclave_run, others may call PLenclave_stop, _resume, _destroy and _attest
 * on the same struct.
 */
#ifndef PENGLAI_ENCLAVE_H
#define PENGLAI_ENCLAVE_H

#include "elf.h"
#include "param.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How to create an enclave. */
struct enclave_args {
    char name[PENGLAI_NAME_BYTES]; /* a server is called by it */
    int type;               /* NORMAL_ENCLAVE, SERVER_ENCLAVE, SHADOW_ENCLAVE */
    unsigned long stack_size;
    int shmid; /* shared memory that the enclave sees; 0: what PLenclave_set_shm said */
    unsigned long shm_offset;
    unsigned long shm_size;
};

/* An enclave as a host program holds it. */
struct PLenclave {
    struct elf_args *elffile;
    int eid; /* as in user_param; -1: none yet */
    int fd;
    struct user_param user_param;     /* .retval: what the enclave returned */
    struct attest_param attest_param; /* .report: the last one */
};

/* ---- life ---- */

/* Opens the device.  On failure fd is -1, and every call on the struct fails. */
int PLenclave_init(struct PLenclave *enclave);

/* A normal enclave with 64 KiB of stack, no name and no shared memory. */
void enclave_args_init(struct enclave_args *params);

/* Creates and measures an enclave, of which the struct must hold none. */
int PLenclave_create(struct PLenclave *enclave, struct elf_args *elf, struct enclave_args *params);

/*
 * Runs the enclave until it ends: 0 when it has exited or was destroyed, -1 when it faulted or could not
 * run.  RETURN_USER_RELAY_PAGE: it waits for relay pages; PLenclave_set_mem_arg, PLenclave_set_rerun_arg,
 * and run it again.
 *
 * Running a shadow makes an instance and runs it; from then on the struct means the instance.  Run a copy
 * of the struct to keep the shadow.
 */
int PLenclave_run(struct PLenclave *enclave);

/* Has the monitor sign the enclave's measurement and the nonce; the report is attest_param.report. */
int PLenclave_attest(struct PLenclave *enclave, unsigned long nonce);

/* Stops the running enclave: on return it executes no further instruction. */
int PLenclave_stop(struct PLenclave *enclave);

/* Continues the stopped enclave where it was. */
int PLenclave_resume(struct PLenclave *enclave);

/* Destroys the enclave and takes its memory back; a thread in PLenclave_run gets 0. */
int PLenclave_destroy(struct PLenclave *enclave);

/* Destroys the enclave if it still lives, and closes the device.  No other call may be under way. */
void PLenclave_destruct(struct PLenclave *enclave);

/* ---- memory that host and enclaves share ---- */

/* Id of new shared memory of size bytes. */
int PLenclave_shmget(unsigned long size);

/* Maps it, at addr if that is free; NULL with errno if it cannot. */
void *PLenclave_shmat(int id, void *addr);

/* Unmaps it. */
int PLenclave_shmdt(int id, void *addr);

/* Gives up the id: the memory is freed when nobody uses it any more. */
int PLenclave_shmctl(int id);

/* Sets the part of shared memory that the enclave will see; call it before the enclave is created. */
int PLenclave_set_shm(struct PLenclave *enclave, int id, unsigned long offset, unsigned long size);

/*
 * Lets sectors that enclaves store pass at the start of this shared memory; they are kept in
 * /mnt/persistencty_file.
 */
int PLenclave_fs_persistency_init(int shmid);

/* ---- relay pages ("schrodinger memory"), which belong to the host or to one enclave, never to both ---- */

/* As for shared memory.  Unmap them before an enclave gets them. */
int PLenclave_schrodinger_get(unsigned long size);
void *PLenclave_schrodinger_at(int id, void *addr);
int PLenclave_schrodinger_dt(int id, void *addr);
int PLenclave_schrodinger_ctl(int id);

/* The relay pages that the enclave gets when it is run, or run again. */
int PLenclave_set_mem_arg(struct PLenclave *enclave, int id, unsigned long offset, unsigned long size);

/* Why the enclave is run again: RETURN_USER_RELAY_PAGE.  Holds for all further runs of it. */
int PLenclave_set_rerun_arg(struct PLenclave *enclave, int rerun_reason);

#ifdef __cplusplus
}
#endif

#endif
