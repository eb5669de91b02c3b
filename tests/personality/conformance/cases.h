/* One case a line: T prints a call, its result, and its error.  The output is the same on Linux, whatever machine. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOWHERE ((void *)8)

static void show(const char *call, long result)
{
    int error = errno;
    if (result == -1)
        printf("%s = -1 %s\n", call, strerror(error));
    else
        printf("%s = %ld\n", call, result);
    errno = 0;
}

__attribute__((constructor)) static void write_lines(void)
{
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
}

#define T(call) (errno = 0, show(#call, (long)(call)))
/* What a call leaves in an object, beside whether it was one. */
#define SHOW(value) printf("  %s: %ld\n", #value, (long)(value))
