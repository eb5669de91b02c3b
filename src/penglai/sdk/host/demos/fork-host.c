/*
 * Runs an enclave in each of several processes, and waits for them.
 *
 *     ./fork-host hello-world 3
 *
 * An enclave belongs to the process that created it: so each opens the device itself, after the fork.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "common.h"

#define MOST_PROCESSES 100

static int child(struct elf_args *elf)
{
    struct PLenclave enclave;
    if (create_enclave(&enclave, elf, NORMAL_ENCLAVE, ""))
        return EXIT_FAILURE;
    int status = run_enclave(&enclave);
    PLenclave_destruct(&enclave);
    return status;
}

static int wait_for(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return failed("cannot wait for process %d", (int)pid);
    if (WIFSIGNALED(status))
        fprintf(stderr, "fork-host: process %d was killed by signal %d\n", (int)pid, WTERMSIG(status));
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}

static int run_all(struct elf_args *elf, int count)
{
    pid_t pids[MOST_PROCESSES];
    int status = EXIT_SUCCESS, started = 0;
    fflush(stdout); /* or each child would print it again */
    for (; started < count; started++) {
        pid_t pid = fork();
        if (pid == 0)
            exit(child(elf));
        if (pid < 0) {
            status = failed("cannot start process %d", started + 1);
            break;
        }
        pids[started] = pid;
    }
    for (int i = 0; i < started; i++)
        if (wait_for(pids[i]) != EXIT_SUCCESS)
            status = EXIT_FAILURE;
    return status;
}

int main(int argc, char **argv)
{
    struct elf_args elf;
    int count = argc > 2 ? parse_count(argv[2], MOST_PROCESSES) : 2;
    if (argc < 2 || argc > 3 || !count)
        return usage("EAPP [PROCESSES]   (1 to 100 processes, 2 by default)");
    if (load_program(&elf, argv[1]))
        return EXIT_FAILURE;
    int status = run_all(&elf, count);
    elf_args_destroy(&elf);
    return status;
}
