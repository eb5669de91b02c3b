/*
 * Tries to read and to write physical memory by /dev/mem, in both ways that there are, and says what came of it.  Each
 * in a process of its own: the kernel kills one whose access it could not complete.
 *
 *     probe ADDRESS
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static int device;
static off_t address;

static int by_call(int write)
{
    unsigned long word = 0x666;
    long done = write ? pwrite(device, &word, 8, address) : pread(device, &word, 8, address);
    return done == 8 ? 0 : errno;
}

static int by_mapping(int write)
{
    volatile unsigned long *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, device, address);
    if (page == MAP_FAILED)
        return errno;
    if (write)
        *page = 0x666;
    else
        (void)*page;
    return 0;
}

static void attempt(const char *what, int (*access)(int), int write)
{
    int status;
    fflush(stdout);
    if (fork() == 0)
        _exit(access(write));
    wait(&status);
    if (WIFSIGNALED(status))
        printf("%s: %s\n", what, strsignal(WTERMSIG(status)));
    else
        printf("%s: %s\n", what, WEXITSTATUS(status) ? strerror(WEXITSTATUS(status)) : "done");
}

int main(int argc, char **argv)
{
    device = open("/dev/mem", O_RDWR);
    address = (off_t)strtoul(argv[argc - 1], NULL, 0);
    attempt("read", by_call, 0);
    attempt("write", by_call, 1);
    attempt("load", by_mapping, 0);
    attempt("store", by_mapping, 1);
    return 0;
}
