/*
 * /dev/penglai_enclave_dev for tests: the ioctls with structs and numbers of their own, written down from the ABI,
 * so that a mistake of the library's or the driver's own headers is seen.
 */
#ifndef DEVICE_H
#define DEVICE_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define CREATE 0x8070a400
#define RUN 0x8070a401
#define ATTEST 0x8158a402
#define STOP 0x8070a403
#define RESUME 0x8070a404
#define DESTROY 0x4070a405
#define SHMGET 0x8018a410
#define SHMAT 0x8020a411
#define SHMCTL 0x8004a413
#define RELAY_GET 0x8018a414
#define RELAY_AT 0x8020a415
#define RELAY_CTL 0x8004a417

enum { NORMAL, SERVER, SHADOW };

struct user_param {
    unsigned long eid;
    char name[16];
    unsigned int type;
    void *elf;
    long elf_size, stack_size;
    int shmid, shadow;
    unsigned long shm_offset, shm_size;
    int relay_id, rerun_reason;
    unsigned long relay_offset, relay_size, retval;
};

struct attest_param {
    int eid, shadow;
    unsigned long nonce;
    unsigned char report[328];
};

struct get_param {
    int key;
    unsigned long size;
    int flags;
};

struct at_param {
    int id;
    void *address;
    unsigned long size;
    int flags;
};

_Static_assert(sizeof(struct user_param) == 112, "user_param");
_Static_assert(sizeof(struct attest_param) == 344, "attest_param");
_Static_assert(sizeof(struct get_param) == 24, "get_param");
_Static_assert(sizeof(struct at_param) == 32, "at_param");

extern int device;

void device_open(void);
void die(const char *what);

/* An ioctl: its result, or minus errno. */
long call(unsigned long request, void *argument);

/* The same with a user_param of its own that names an enclave. */
long on(unsigned long request, unsigned long eid);
long attest(unsigned long eid, struct attest_param *param);

/* Makes an enclave of a file; its eid. */
struct user_param make(const char *file, int type, const char *name);

/* A run on a thread of its own. */
struct running {
    struct user_param param;
    pthread_t thread;
    volatile int tid;
    long result;
};

struct running *start(struct user_param param);
struct user_param finish(struct running *running, long *result);

/* Returns when the run's thread sleeps in a function of the kernel of this name, such as "pipe_write". */
void await_sleep(const struct running *running, const char *function);

/* Kilobytes of a line of /proc/meminfo. */
long meminfo(const char *name);

#endif
