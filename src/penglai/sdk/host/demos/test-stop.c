/*
 * Stops, resumes and destroys an enclave that another thread runs.
 *
 *     ./test-stop loop
 *
 * After each step the driver is asked for something that it grants, or refuses, only if the step has done
 * what it should: nothing here depends on how fast the machine is.  It asks for nothing that Penglai-TVM's own
 * driver does not survive: there only what runs is stopped, and only what is stopped is resumed.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "common.h"

struct runner {
    pthread_t thread;
    struct PLenclave *enclave;
    int eid;
    atomic_bool over;
    int result;
    int reason; /* errno, if the result is -1 */
};

static void *run(void *argument)
{
    struct runner *runner = argument;
    runner->result = PLenclave_run(runner->enclave);
    runner->reason = errno;
    atomic_store(&runner->over, true);
    return NULL;
}

/* Says which step went wrong and what it should have done. */
static int wrong(const char *step, const char *what)
{
    fflush(stdout);
    return failed("%s: %s", step, what);
}

/* Whether a call was refused, and for this reason. */
static bool refused(int result, int reason)
{
    return result < 0 && errno == reason;
}

/* Whether the enclave is running: then it cannot be attested.  The errno is the driver's, or Penglai-TVM's. */
static bool is_running(struct runner *runner)
{
    return PLenclave_attest(runner->enclave, 0) && (errno == EFAULT || errno == EPERM);
}

/* The enclave cannot be stopped before the other thread has started it. */
static int stop_when_started(struct runner *runner)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    while (!is_running(runner)) {
        if (atomic_load(&runner->over))
            return -1;
        nanosleep(&moment, NULL);
    }
    return PLenclave_stop(runner->enclave);
}

static int stop(struct runner *runner)
{
    if (stop_when_started(runner))
        return wrong("stop", "the enclave is not running");
    if (PLenclave_stop(runner->enclave))
        return wrong("stop", "the enclave did not stay stopped");
    printf("stop: ok, enclave %d stands still: stopping it again changes nothing\n", runner->eid);
    return EXIT_SUCCESS;
}

static int resume(struct runner *runner)
{
    if (PLenclave_resume(runner->enclave))
        return wrong("resume", "it was refused");
    if (!is_running(runner))
        return wrong("resume", "the enclave does not go on");
    printf("resume: ok, enclave %d goes on: it cannot be attested\n", runner->eid);
    return EXIT_SUCCESS;
}

static int destroy(struct runner *runner)
{
    if (PLenclave_destroy(runner->enclave))
        return wrong("destroy", "it was refused");
    if (!refused(PLenclave_stop(runner->enclave), EINVAL))
        return wrong("destroy", "the enclave is still there");
    printf("destroy: ok, there is no enclave %d any more\n", runner->eid);
    return EXIT_SUCCESS;
}

static int end_of_run(struct runner *runner)
{
    pthread_join(runner->thread, NULL);
    if (runner->result) {
        errno = runner->reason;
        return wrong("run", "it should have returned 0");
    }
    printf("run: returned 0\n");
    return EXIT_SUCCESS;
}

static int test(struct PLenclave *enclave)
{
    struct runner runner = {.enclave = enclave, .eid = enclave->eid};
    errno = pthread_create(&runner.thread, NULL, run, &runner);
    if (errno)
        return failed("cannot start a thread");
    int status = stop(&runner) || resume(&runner) || destroy(&runner) ? EXIT_FAILURE : EXIT_SUCCESS;
    if (status != EXIT_SUCCESS)
        PLenclave_destroy(enclave); /* or the run would never end */
    return end_of_run(&runner) ? EXIT_FAILURE : status;
}

int main(int argc, char **argv)
{
    struct elf_args elf;
    struct PLenclave enclave;
    int status = EXIT_FAILURE;
    if (argc != 2)
        return usage("EAPP   (an enclave program that does not end, such as loop)");
    if (load_program(&elf, argv[1]))
        return EXIT_FAILURE;
    if (!create_enclave(&enclave, &elf, NORMAL_ENCLAVE, "")) {
        status = test(&enclave);
        PLenclave_destruct(&enclave);
    }
    elf_args_destroy(&elf);
    return status;
}
