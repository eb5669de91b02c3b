/* Every promise of the host library, on the fake device. */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include "penglai-enclave.h"

#define REFUSED(call, reason) (errno = 0, (call) == -1 && errno == (reason))

static struct elf_args loops, relays;
static struct enclave_args params;

static void *run(void *enclave)
{
    assert(PLenclave_run(enclave) == 0);
    return NULL;
}

static void before_create(void)
{
    struct PLenclave enclave;
    assert(PLenclave_init(&enclave) == 0 && enclave.fd >= 0 && enclave.eid == -1);
    assert(REFUSED(PLenclave_run(&enclave), EINVAL));
    assert(REFUSED(PLenclave_stop(&enclave), EINVAL));
    assert(REFUSED(PLenclave_attest(&enclave, 1), EINVAL) && enclave.eid == -1);
    int fd = enclave.fd;
    PLenclave_destruct(&enclave);
    assert(enclave.fd == -1 && REFUSED(PLenclave_create(&enclave, &loops, &params), EBADF) && fd >= 0);
}

static void arguments_are_checked(void)
{
    struct PLenclave enclave;
    struct enclave_args long_name = params;
    struct elf_args none = {0};
    PLenclave_init(&enclave);
    memset(long_name.name, 'x', sizeof long_name.name);
    assert(REFUSED(PLenclave_create(&enclave, &loops, &long_name), EINVAL));
    assert(REFUSED(PLenclave_create(&enclave, &none, &params), EINVAL) && enclave.eid == -1);
    PLenclave_destruct(&enclave);
}

static void shared_memory_is_passed_on(void)
{
    struct PLenclave enclave;
    struct enclave_args own = params;
    PLenclave_init(&enclave);
    PLenclave_set_shm(&enclave, 5, 4096, 8192);
    assert(PLenclave_create(&enclave, &loops, &own) == 0);
    assert(enclave.user_param.shmid == 5 && enclave.user_param.shm_offset == 4096);
    PLenclave_destruct(&enclave);
    PLenclave_init(&enclave);
    own.shmid = 6, own.shm_size = 4096;
    strcpy(own.name, "fifteen letters");
    assert(PLenclave_create(&enclave, &loops, &own) == 0 && enclave.user_param.shmid == 6);
    assert(!strcmp(enclave.user_param.name, own.name) && enclave.elffile == &loops);
    PLenclave_destruct(&enclave);
}

static void memory_is_mapped(void)
{
    int one = PLenclave_shmget(4096), other = PLenclave_shmget(8192);
    assert(one > 0 && other > one);
    char *first = PLenclave_shmat(one, NULL), *second = PLenclave_shmat(other, NULL);
    char *again = PLenclave_shmat(one, NULL);
    first[9] = 1, second[8191] = 2;
    assert(again[9] == 1 && second[9] == 0 && first != again);
    assert(PLenclave_shmdt(one, first) == 0 && again[9] == 1);
    assert(PLenclave_shmdt(one, again) == 0 && PLenclave_shmdt(other, second) == 0);
    assert(PLenclave_fs_persistency_init(other) == 0 && REFUSED(PLenclave_fs_persistency_init(99), EINVAL));
    assert(PLenclave_shmctl(one) == 0 && REFUSED(PLenclave_shmctl(one), EINVAL));
    errno = 0;
    assert(PLenclave_shmat(one, NULL) == NULL && errno == EINVAL);
    assert(REFUSED(PLenclave_shmdt(one, first), EINVAL));
}

static void rerun_holds_until_the_next_create(void)
{
    struct PLenclave enclave;
    PLenclave_init(&enclave);
    assert(PLenclave_create(&enclave, &relays, &params) == 0);
    assert(PLenclave_run(&enclave) == RETURN_USER_RELAY_PAGE);
    assert(REFUSED(PLenclave_run(&enclave), EFAULT));
    PLenclave_set_rerun_arg(&enclave, RETURN_USER_RELAY_PAGE);
    assert(PLenclave_run(&enclave) == 0 && enclave.user_param.rerun_reason == RETURN_USER_RELAY_PAGE);
    assert(PLenclave_create(&enclave, &relays, &params) == 0);
    assert(PLenclave_run(&enclave) == RETURN_USER_RELAY_PAGE);
    PLenclave_destruct(&enclave);
}

static void a_shadow_that_runs_is_its_instance(void)
{
    struct PLenclave enclave;
    struct enclave_args shadow = params;
    pthread_t thread;
    shadow.type = SHADOW_ENCLAVE;
    PLenclave_init(&enclave);
    assert(PLenclave_create(&enclave, &loops, &shadow) == 0);
    struct PLenclave template = enclave;
    assert(REFUSED(PLenclave_stop(&enclave), EFAULT));
    pthread_create(&thread, NULL, run, &enclave);
    while (PLenclave_stop(&enclave))
        sched_yield();
    assert(PLenclave_stop(&enclave) == 0 && PLenclave_attest(&enclave, 7) == 0);
    assert(enclave.attest_param.eid == template.eid + 1 && enclave.attest_param.isShadow);
    assert(enclave.attest_param.report.enclave.nonce == 7);
    assert(PLenclave_resume(&enclave) == 0 && REFUSED(PLenclave_attest(&enclave, 8), EFAULT));
    assert(enclave.attest_param.nonce == 7);
    assert(PLenclave_destroy(&enclave) == 0);
    pthread_join(thread, NULL);
    assert(enclave.eid == template.eid + 1 && enclave.user_param.isShadow == 1);
    assert(REFUSED(PLenclave_run(&enclave), EINVAL));
    assert(PLenclave_destroy(&template) == 0);
    PLenclave_destruct(&template);
}

static void destruct_destroys_what_lives(void)
{
    struct PLenclave enclave, other;
    PLenclave_init(&enclave);
    PLenclave_init(&other);
    assert(PLenclave_create(&enclave, &loops, &params) == 0);
    other.user_param = enclave.user_param;
    assert(PLenclave_attest(&other, 1) == 0);
    errno = ENOSPC;
    PLenclave_destruct(&enclave);
    assert(errno == ENOSPC && enclave.eid == -1 && enclave.fd == -1);
    assert(REFUSED(PLenclave_attest(&other, 1), EINVAL));
    PLenclave_destruct(&other);
}

static void without_a_device(void)
{
    struct PLenclave enclave;
    setenv("FAKE_BREAKS", "open", 1);
    assert(REFUSED(PLenclave_init(&enclave), ENOENT) && enclave.fd == -1 && enclave.eid == -1);
    assert(REFUSED(PLenclave_shmget(4096), ENOENT));
    PLenclave_destruct(&enclave);
    unsetenv("FAKE_BREAKS");
}

int main(int argc, char **argv)
{
    assert(argc == 3);
    assert(elf_args_init(&loops, argv[1]) == 0 && elf_valid(&loops));
    assert(elf_args_init(&relays, argv[2]) == 0 && relays.size == 64 && relays.fd == -1);
    enclave_args_init(&params);
    assert(params.type == NORMAL_ENCLAVE && params.stack_size == 65536 && !params.shmid && !params.name[0]);
    without_a_device();
    before_create();
    arguments_are_checked();
    shared_memory_is_passed_on();
    memory_is_mapped();
    rerun_holds_until_the_next_create();
    a_shadow_that_runs_is_its_instance();
    destruct_destroys_what_lives();
    elf_args_destroy(&loops);
    elf_args_destroy(&relays);
    assert(!elf_valid(&loops) && loops.size == 0 && REFUSED(elf_args_init(&loops, "/no"), ENOENT));
    assert(REFUSED(elf_args_init(&loops, "/"), EISDIR) && !elf_valid(&loops));
    return 0;
}
