/* Numbers of the system, sleeping, devices, and the stack. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/times.h>
#include <time.h>
#include <unistd.h>

#define T(expression)                                                       \
    do {                                                                    \
        errno = 0;                                                          \
        long result = (long)(expression);                                   \
        printf("%s: %ld%s%s\n", #expression, result, result < 0 ? " " : "", \
               result < 0 ? strerror(errno) : "");                          \
    } while (0)

static void dirty(void)
{
    volatile char used[8000];
    memset((char *)used, 0x5a, sizeof used);
}

static long ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void numbers(void)
{
    struct rusage usage;
    struct tms spent;
    struct sysinfo info;
    char text[100];
    dirty();
    T(sysconf(_SC_PHYS_PAGES) > 0 && sysconf(_SC_PHYS_PAGES) < 1L << 32);
    T(sysconf(_SC_AVPHYS_PAGES) > 0 && sysconf(_SC_AVPHYS_PAGES) <= sysconf(_SC_PHYS_PAGES));
    T(sysinfo(&info) == 0 && info.uptime < 1L << 40 && info.procs > 0 && info.mem_unit > 0);
    T(times(&spent) >= 0 && spent.tms_utime >= 0 && spent.tms_cutime == 0);
    T(getrusage(RUSAGE_SELF, &usage) == 0 && usage.ru_utime.tv_sec < 1000);
    T(getrusage(77, &usage));
    T(getpgrp() > 0);
    T(nice(0));
    T(getcwd(text, sizeof text) == text && *text == '/');
    T(chdir("/"));
    T(chdir("/none"));
    T(rename("/a", "/b"));
    T(alarm(0));
}

static void sleeping(void)
{
    struct timeval time = {0, 20000};
    long begin = ms();
    T(select(0, NULL, NULL, NULL, &time));
    T(poll(NULL, 0, 20));
    T(usleep(1000));
    printf("slept %d\n", ms() - begin >= 40);
    struct pollfd all[] = {{0, POLLIN, 0}, {1, POLLOUT, 0}, {77, POLLIN, 0}, {-1, POLLIN, 0}};
    T(poll(all, 4, -1));
    printf("%x %x %x %x\n", all[0].revents, all[1].revents, all[2].revents, all[3].revents);
    fd_set in, out;
    FD_ZERO(&in);
    FD_ZERO(&out);
    FD_SET(0, &in);
    FD_SET(1, &out);
    T(select(2, &in, &out, NULL, NULL));
    printf("%d %d\n", FD_ISSET(0, &in) != 0, FD_ISSET(1, &out) != 0);
    FD_SET(77, &out);
    T(select(78, NULL, &out, NULL, NULL));
}

static void devices(void)
{
    unsigned char bytes[100] = {0};
    struct stat about;
    FILE *source = fopen("/dev/urandom", "rb");
    T(source && fread(bytes, 1, sizeof bytes, source) == sizeof bytes && memcmp(bytes, bytes + 50, 50));
    T(fileno(source));
    T(fclose(source));
    T(open("/dev/zero", O_RDONLY));
    T(read(3, bytes, 100));
    T(bytes[0] | bytes[99]);
    T(open("/dev/null", O_RDWR | O_CLOEXEC));
    T(read(4, bytes, 100));
    T(write(4, bytes, 100));
    T(fstat(4, &about) == 0 && S_ISCHR(about.st_mode));
    T(isatty(4));
    T(dup(1));
    T(write(5, "duplicated\n", 11));
    T(dup2(4, 5));
    T(write(5, "lost\n", 5));
    T(close(5));
    T(close(5));
    T((fcntl(1, F_GETFL) & O_ACCMODE) != O_RDONLY);
    T(fcntl(9, F_GETFL));
    T(open("/no/such", O_RDONLY));
    T(access("/no/such", R_OK));
}

static void stack(void)
{
    pthread_attr_t attributes;
    void *low;
    size_t size;
    int here;
    T(pthread_getattr_np(pthread_self(), &attributes));
    T(pthread_attr_getstack(&attributes, &low, &size));
    T((char *)&here >= (char *)low && (char *)&here < (char *)low + size);
    T((size_t)((char *)low + size - (char *)&here) < 65536 && size >= 65536);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    numbers();
    sleeping();
    devices();
    stack();
    return 0;
}
