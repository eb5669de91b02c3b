#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/times.h>
#include <time.h>
#include <unistd.h>
#define T(x)                                                           \
    do {                                                               \
        errno = 0;                                                     \
        long r = (long)(x);                                            \
        printf("%-40s %ld %s\n", #x, r, r < 0 ? strerror(errno) : ""); \
    } while (0)
int main(void)
{
    struct timeval tv = {0, 20000};
    struct rusage ru;
    struct tms tm;
    struct sysinfo si;
    char b[100];
    struct timespec a, z;
    clock_gettime(CLOCK_MONOTONIC, &a);
    T(select(0, NULL, NULL, NULL, &tv));
    T(poll(NULL, 0, 20));
    clock_gettime(CLOCK_MONOTONIC, &z);
    long slept = (z.tv_sec - a.tv_sec) * 1000 + (z.tv_nsec - a.tv_nsec) / 1000000;
    printf("slept long enough: %d\n", slept >= 40);
    T(getrusage(RUSAGE_SELF, &ru));
    T(times(&tm) >= 0);
    T(sysinfo(&si));
    T(sysconf(_SC_PHYS_PAGES) > 0);
    T(sysconf(_SC_NPROCESSORS_ONLN) > 0);
    T(sysconf(_SC_PAGESIZE));
    T(getcwd(b, 100) ? 0 : -1);
    T(access("/x", R_OK));
    T(open("/dev/urandom", O_RDONLY));
    T(open("/dev/null", O_RDWR));
    T(isatty(0));
    T(isatty(1));
    T(fcntl(1, F_GETFL) & O_ACCMODE);
    T(dup(1));
    T(getentropy(b, 10));
    T(clock() >= 0);
    T(getpgrp() > 0);
    T(rename("/no/a", "/no/b"));
    T(unlink("/no"));
    T(chdir("/"));
    T(gethostname(b, 100));
    T(nice(0));
    T(alarm(0));
    return 0;
}
