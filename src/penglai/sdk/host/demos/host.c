/*
 * Runs an enclave, or many at once: each in a thread of its own.
 *
 *     ./host hello-world
 *     ./host mem 5
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include "common.h"

#define MOST_THREADS 100

struct job {
    pthread_t thread;
    struct elf_args *elf; /* all enclaves are made from the same one */
    int status;
};

static void *work(void *argument)
{
    struct job *job = argument;
    struct PLenclave enclave;
    job->status = EXIT_FAILURE;
    if (create_enclave(&enclave, job->elf, NORMAL_ENCLAVE, ""))
        return NULL;
    job->status = run_enclave(&enclave);
    PLenclave_destruct(&enclave);
    return NULL;
}

static int run_all(struct elf_args *elf, int count)
{
    struct job jobs[MOST_THREADS];
    int status = EXIT_SUCCESS, started = 0;
    for (; started < count; started++) {
        struct job *job = &jobs[started];
        job->elf = elf;
        errno = pthread_create(&job->thread, NULL, work, job);
        if (errno) {
            status = failed("cannot start thread %d", started + 1);
            break;
        }
    }
    for (int i = 0; i < started; i++) {
        pthread_join(jobs[i].thread, NULL);
        if (jobs[i].status != EXIT_SUCCESS)
            status = EXIT_FAILURE;
    }
    return status;
}

int main(int argc, char **argv)
{
    struct elf_args elf;
    int count = argc > 2 ? parse_count(argv[2], MOST_THREADS) : 1;
    if (argc < 2 || argc > 3 || !count)
        return usage("EAPP [THREADS]   (1 to 100 threads, 1 by default)");
    if (load_program(&elf, argv[1]))
        return EXIT_FAILURE;
    int status = run_all(&elf, count);
    elf_args_destroy(&elf);
    return status;
}
