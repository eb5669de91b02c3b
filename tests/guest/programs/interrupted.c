/*
 * Runs an enclave that writes a lot while a signal comes every millisecond, and somebody reads slowly.
 *
 *     interrupted FILE
 */
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include "device.h"

static volatile int ticks;

static void on_tick(int number)
{
    (void)number;
    ticks++;
}

/* Reads a few bytes at a time, and copies them to standard error. */
static void copy(int from)
{
    char part[100];
    long size;
    while ((size = read(from, part, sizeof part)) > 0)
        for (long i = 0; i < size; i++)
            if (write(2, part + i, 1) != 1)
                _exit(1);
    _exit(0);
}

int main(int argc, char **argv)
{
    struct itimerval often = {{0, 1000}, {0, 1000}}, never = {0};
    struct sigaction action = {.sa_handler = on_tick};
    struct user_param param;
    int ends[2];
    long result;
    (void)argc;
    device_open();
    param = make(argv[1], NORMAL, "talker");
    if (pipe(ends))
        die("pipe");
    if (fork() == 0) {
        close(ends[1]);
        copy(ends[0]);
    }
    fcntl(ends[1], F_SETPIPE_SZ, 4096);
    dup2(ends[1], 1);
    close(ends[1]);
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    result = call(RUN, &param);
    setitimer(ITIMER_REAL, &never, NULL);
    close(1);
    while (wait(NULL) < 0)
        ;
    dprintf(2, "%ld %lu %s\n", result, param.retval, ticks > 10 ? "interrupted" : "undisturbed");
    return 0;
}
