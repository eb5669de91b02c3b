/*
 * The interface of host programs and driver: requests and structs of the ioctls on the device.
 *
 * The layouts are the ABI's (64-bit, little endian).
 */
#ifndef PENGLAI_PARAM_H
#define PENGLAI_PARAM_H

#include <linux/ioctl.h>

#define PENGLAI_DEVICE "/dev/penglai_enclave_dev"

/* Bytes of a name: at most 15 characters and a NUL. */
#define PENGLAI_NAME_BYTES 16

/* Kinds of enclave. */
#define NORMAL_ENCLAVE 0
#define SERVER_ENCLAVE 1
#define SHADOW_ENCLAVE 2

/* Result of a run, and reason to run again: the enclave waits for relay pages. */
#define RETURN_USER_RELAY_PAGE 1

#define HASH_SIZE 32
#define SIGNATURE_SIZE 64
#define PUBLIC_KEY_SIZE 64

/* Hashes are SM3's; signatures SM2's r and s, keys x and y, each number 32 bytes, big endian. */
struct sm_report_t {
    unsigned char hash[HASH_SIZE];
    unsigned char signature[SIGNATURE_SIZE]; /* the device key's */
    unsigned char sm_pub_key[PUBLIC_KEY_SIZE];
};

struct enclave_report_t {
    unsigned char hash[HASH_SIZE];
    unsigned char signature[SIGNATURE_SIZE]; /* the monitor's */
    unsigned long nonce;
};

struct report_t {
    struct sm_report_t sm;
    struct enclave_report_t enclave;
    unsigned char dev_pub_key[PUBLIC_KEY_SIZE];
};

/* Create, run, stop, resume, destroy. */
struct user_param {
    unsigned long eid;
    char name[PENGLAI_NAME_BYTES];
    unsigned int type;
    unsigned long elf_ptr;
    long elf_size;
    long stack_size;
    int shmid; /* shared memory that the enclave gets when it is created; 0: none */
    int isShadow; /* eid is that of a shadow's instance */
    unsigned long shm_offset;
    unsigned long shm_size;
    int schrodinger_id; /* relay pages that it gets when it is run; 0: none */
    int rerun_reason;
    unsigned long schrodinger_offset;
    unsigned long schrodinger_size;
    unsigned long retval; /* out, of a run: the enclave's value */
};

struct attest_param {
    int eid;
    int isShadow;
    unsigned long nonce;
    struct report_t report; /* out */
};

/* Shared memory and relay pages alike. */
struct shmget_param {
    int key; /* unused, as is flg: 0 */
    unsigned long size;
    int flg;
};

struct shmat_param {
    int id;
    void *addr;
    unsigned long size; /* out: what to map */
    int flg;
};

struct shmdt_param {
    int id;
    void *addr;
    unsigned long size; /* out: what to unmap */
};

/* The directions are those of the ABI, though every struct that holds a result goes both ways. */
#define PENGLAI_IOC_MAGIC 0xa4
#define PENGLAI_IOC_CREATE _IOR(PENGLAI_IOC_MAGIC, 0x00, struct user_param)
#define PENGLAI_IOC_RUN _IOR(PENGLAI_IOC_MAGIC, 0x01, struct user_param)
#define PENGLAI_IOC_ATTEST _IOR(PENGLAI_IOC_MAGIC, 0x02, struct attest_param)
#define PENGLAI_IOC_STOP _IOR(PENGLAI_IOC_MAGIC, 0x03, struct user_param)
#define PENGLAI_IOC_RESUME _IOR(PENGLAI_IOC_MAGIC, 0x04, struct user_param)
#define PENGLAI_IOC_DESTROY _IOW(PENGLAI_IOC_MAGIC, 0x05, struct user_param)
#define PENGLAI_IOC_DEBUG_PRINT _IOW(PENGLAI_IOC_MAGIC, 0x06, struct user_param)
#define PENGLAI_IOC_SHMGET _IOR(PENGLAI_IOC_MAGIC, 0x10, struct shmget_param)
#define PENGLAI_IOC_SHMAT _IOR(PENGLAI_IOC_MAGIC, 0x11, struct shmat_param)
#define PENGLAI_IOC_SHMDT _IOR(PENGLAI_IOC_MAGIC, 0x12, struct shmdt_param)
#define PENGLAI_IOC_SHMCTL _IOR(PENGLAI_IOC_MAGIC, 0x13, int)
#define PENGLAI_IOC_SCHRODINGER_GET _IOR(PENGLAI_IOC_MAGIC, 0x14, struct shmget_param)
#define PENGLAI_IOC_SCHRODINGER_AT _IOR(PENGLAI_IOC_MAGIC, 0x15, struct shmat_param)
#define PENGLAI_IOC_SCHRODINGER_DT _IOR(PENGLAI_IOC_MAGIC, 0x16, struct shmdt_param)
#define PENGLAI_IOC_SCHRODINGER_CTL _IOR(PENGLAI_IOC_MAGIC, 0x17, int)
#define PENGLAI_IOC_PERSISTENCY_INIT _IOR(PENGLAI_IOC_MAGIC, 0x18, int)

#endif
