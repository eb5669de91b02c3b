/* Reports, by which an enclave proves what it is.  docs/abi.md says what is hashed and signed. */
#ifndef PENGLAI_ATTEST_H
#define PENGLAI_ATTEST_H

#include <stdint.h>

#define HASH_SIZE 32
#define SIGNATURE_SIZE 64
#define PUBLIC_KEY_SIZE 64

struct sm_report_t {
    unsigned char hash[HASH_SIZE];
    unsigned char signature[SIGNATURE_SIZE];
    unsigned char sm_pub_key[PUBLIC_KEY_SIZE];
};

struct enclave_report_t {
    unsigned char hash[HASH_SIZE];
    unsigned char signature[SIGNATURE_SIZE];
    uintptr_t nonce;
};

struct report_t {
    struct sm_report_t sm;
    struct enclave_report_t enclave;
    unsigned char dev_pub_key[PUBLIC_KEY_SIZE];
};

#endif
