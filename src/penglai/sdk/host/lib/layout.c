/* The layouts and numbers of the ABI: who changes one by mistake cannot compile the library. */
#include <stddef.h>
#include "penglai-enclave.h"

#define SIZE(type, size) _Static_assert(sizeof(type) == (size), #type)
#define AT(type, field, offset) _Static_assert(offsetof(type, field) == (offset), #type "." #field)
#define REQUEST(name, number) _Static_assert((name) == (number), #name)

SIZE(struct user_param, 112);
AT(struct user_param, eid, 0);
AT(struct user_param, name, 8);
AT(struct user_param, type, 24);
AT(struct user_param, elf_ptr, 32);
AT(struct user_param, elf_size, 40);
AT(struct user_param, stack_size, 48);
AT(struct user_param, shmid, 56);
AT(struct user_param, isShadow, 60);
AT(struct user_param, shm_offset, 64);
AT(struct user_param, shm_size, 72);
AT(struct user_param, schrodinger_id, 80);
AT(struct user_param, rerun_reason, 84);
AT(struct user_param, schrodinger_offset, 88);
AT(struct user_param, schrodinger_size, 96);
AT(struct user_param, retval, 104);

SIZE(struct attest_param, 344);
AT(struct attest_param, eid, 0);
AT(struct attest_param, isShadow, 4);
AT(struct attest_param, nonce, 8);
AT(struct attest_param, report, 16);

SIZE(struct report_t, 328);
AT(struct report_t, sm, 0);
AT(struct report_t, sm.signature, 32);
AT(struct report_t, sm.sm_pub_key, 96);
AT(struct report_t, enclave, 160);
AT(struct report_t, enclave.signature, 192);
AT(struct report_t, enclave.nonce, 256);
AT(struct report_t, dev_pub_key, 264);

SIZE(struct shmget_param, 24);
AT(struct shmget_param, size, 8);
AT(struct shmget_param, flg, 16);
SIZE(struct shmat_param, 32);
AT(struct shmat_param, addr, 8);
AT(struct shmat_param, size, 16);
AT(struct shmat_param, flg, 24);
SIZE(struct shmdt_param, 24);
AT(struct shmdt_param, addr, 8);
AT(struct shmdt_param, size, 16);

AT(struct enclave_args, type, 16);
AT(struct enclave_args, stack_size, 24);
AT(struct enclave_args, shmid, 32);
AT(struct enclave_args, shm_offset, 40);
AT(struct enclave_args, shm_size, 48);

SIZE(struct elf_args, 24);
AT(struct elf_args, size, 8);
AT(struct elf_args, ptr, 16);

AT(struct PLenclave, eid, 8);
AT(struct PLenclave, fd, 12);
AT(struct PLenclave, user_param, 16);
AT(struct PLenclave, attest_param, 128);

REQUEST(PENGLAI_IOC_CREATE, 0x8070a400);
REQUEST(PENGLAI_IOC_RUN, 0x8070a401);
REQUEST(PENGLAI_IOC_ATTEST, 0x8158a402);
REQUEST(PENGLAI_IOC_STOP, 0x8070a403);
REQUEST(PENGLAI_IOC_RESUME, 0x8070a404);
REQUEST(PENGLAI_IOC_DESTROY, 0x4070a405);
REQUEST(PENGLAI_IOC_DEBUG_PRINT, 0x4070a406);
REQUEST(PENGLAI_IOC_SHMGET, 0x8018a410);
REQUEST(PENGLAI_IOC_SHMAT, 0x8020a411);
REQUEST(PENGLAI_IOC_SHMDT, 0x8018a412);
REQUEST(PENGLAI_IOC_SHMCTL, 0x8004a413);
REQUEST(PENGLAI_IOC_SCHRODINGER_GET, 0x8018a414);
REQUEST(PENGLAI_IOC_SCHRODINGER_AT, 0x8020a415);
REQUEST(PENGLAI_IOC_SCHRODINGER_DT, 0x8018a416);
REQUEST(PENGLAI_IOC_SCHRODINGER_CTL, 0x8004a417);
REQUEST(PENGLAI_IOC_PERSISTENCY_INIT, 0x8004a418);
