/*
 * Threads that create, run, stop, resume and destroy at random, each with a few enclaves of its own and with those
 * of the others.  Every result is one that the life cycle allows; what a program computes is what it computes
 * undisturbed.
 *
 *     stress THREADS ROUNDS SPIN VALUE
 */
#include <sched.h>
#include "device.h"

static int rounds;
static const char *spin, *value;
static volatile unsigned long shared_eid;

static void allow(long result, const char *what)
{
    if (result == 0 || result == -EFAULT || result == -EINVAL)
        return;
    printf("%s: %ld\n", what, result);
    exit(1);
}

static void disturb(unsigned long eid, unsigned *seed)
{
    switch (rand_r(seed) % 4) {
    case 0:
        allow(on(STOP, eid), "stop");
        break;
    case 1:
        allow(on(RESUME, eid), "resume");
        break;
    case 2:
        allow(attest(eid, NULL), "attest");
        break;
    default:
        sched_yield();
    }
}

/* An enclave that ends by itself, however often it is stopped meanwhile. */
static void one_that_ends(unsigned *seed)
{
    struct user_param param = make(value, NORMAL, "value");
    struct running *run;
    long result;
    shared_eid = param.eid;
    run = start(param);
    for (int i = rand_r(seed) % 10; i; i--)
        disturb(param.eid, seed);
    while (run->result == 12345) {
        on(RESUME, param.eid);
        sched_yield();
    }
    param = finish(run, &result);
    if (result || param.retval != 7) {
        printf("run: %ld, value %lu\n", result, param.retval);
        exit(1);
    }
}

/* One that is destroyed in the middle of whatever is going on. */
static void one_that_is_destroyed(unsigned *seed)
{
    struct user_param param = make(spin, NORMAL, "spin");
    struct running *run = start(param);
    long result;
    for (int i = rand_r(seed) % 20; i; i--)
        disturb(rand_r(seed) % 2 ? param.eid : shared_eid, seed);
    while (on(DESTROY, param.eid))
        sched_yield();
    finish(run, &result);
    allow(result, "run");
}

static void *work(void *argument)
{
    unsigned seed = (unsigned)(unsigned long)argument;
    for (int i = 0; i < rounds; i++) {
        if (rand_r(&seed) % 2)
            one_that_ends(&seed);
        else
            one_that_is_destroyed(&seed);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[64];
    int count;
    if (argc != 5 || (count = atoi(argv[1])) > 64)
        return 2;
    rounds = atoi(argv[2]);
    spin = argv[3], value = argv[4];
    device_open();
    for (int i = 0; i < count; i++)
        pthread_create(&threads[i], NULL, work, (void *)(i + 1UL));
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    printf("stress: well\n");
    return 0;
}
