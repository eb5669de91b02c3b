/* What calls say to arguments that make no sense, and to files that are in their own way. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
    int number;
    const char *name;
} names[] = {{EINVAL, "EINVAL"}, {EFAULT, "EFAULT"}, {EBADF, "EBADF"},   {ECHILD, "ECHILD"},
             {ESRCH, "ESRCH"},   {EPERM, "EPERM"},   {EAGAIN, "EAGAIN"}, {ESPIPE, "ESPIPE"},
             {ENOENT, "ENOENT"}, {EACCES, "EACCES"}};

static void show(const char *what, long result)
{
    const char *word = "";
    for (size_t i = 0; result < 0 && i < sizeof names / sizeof *names; i++)
        if (names[i].number == errno)
            word = names[i].name;
    printf("%s: %ld %s\n", what, result < 0 ? -1 : result, word);
}

#define SHOW(call) show(#call, call)

static void directories(void)
{
    char entries[4096];
    mkdir("/tmp/arguments", 0700);
    int directory = open("/tmp/arguments", O_RDONLY | O_DIRECTORY);
    for (size_t size = 0; size <= 48; size += 8)
        printf("%zu: %d\n", size, syscall(SYS_getdents64, directory, entries, size) > 0);
    rmdir("/tmp/arguments");
    SHOW(syscall(SYS_getdents64, directory, entries, sizeof entries));
    close(directory);
}

static void vectors(void)
{
    char a[8] = "abcdefg", b[8];
    int ends[2];
    if (pipe(ends))
        return;
    struct iovec negative[] = {{a, 4}, {b, (size_t)-1}}, wild[] = {{a, 4}, {(void *)8, 4}},
                 huge[] = {{a, 4}, {a, 0}, {b, SSIZE_MAX}}, none[] = {{(void *)8, 0}};
    SHOW(writev(ends[1], negative, 2));
    SHOW(writev(ends[1], none, 1));
    SHOW(writev(ends[1], negative, -1));
    SHOW(writev(ends[0], negative, 2));
    SHOW(writev(-1, negative, 2));
    SHOW(readv(ends[0], negative, 2));
    SHOW(writev(ends[1], (struct iovec *)8, 1));
    SHOW(writev(ends[1], huge, 1));
    SHOW(readv(ends[0], huge, 3));
    SHOW(readv(ends[1], huge, 1));
    int zero = open("/dev/zero", O_RDWR);
    SHOW(writev(zero, (struct iovec[]){{a, 8}, {a, 8}, {a, 0}, {a, 1}}, 4));
    SHOW(readv(zero, wild, 2));
    SHOW(readv(zero, wild + 1, 1));
    SHOW(syscall(SYS_fadvise64, ends[0], 0, 0, POSIX_FADV_NORMAL));
    close(ends[0]);
    close(ends[1]);
    close(zero);
}

static void others(void)
{
    int file = open("/tmp/arguments", O_RDWR | O_CREAT, 0600);
    SHOW(syscall(SYS_fadvise64, file, 0, 0, 6));
    SHOW(syscall(SYS_fadvise64, file, 0, -1L, 0));
    SHOW(syscall(SYS_fadvise64, file, 0, 0, 5));
    SHOW(syscall(SYS_fadvise64, -1, 0, 0, 0));
    SHOW(waitpid(-1, NULL, 0));
    SHOW(waitpid(-1, NULL, 64));
    SHOW(waitpid(INT_MIN, NULL, WNOHANG));
    SHOW(setpgid(0, -1));
    SHOW(setpgid(99999, 0));
    SHOW(syscall(SYS_membarrier, 0, 1, 0));
    SHOW(syscall(SYS_membarrier, 3, 0, 0));
    SHOW(syscall(SYS_membarrier, 8, 0, 0));
    SHOW(syscall(SYS_membarrier, 16, 0, 0));
    SHOW(syscall(SYS_membarrier, 8, 0, 0));
    SHOW(syscall(SYS_membarrier, 0, 0, 0) & 31);
    SHOW(syscall(SYS_faccessat2, AT_FDCWD, "/tmp", 8, 0));
    SHOW(syscall(SYS_faccessat2, AT_FDCWD, "/tmp", R_OK, 1));
    SHOW(syscall(SYS_faccessat2, AT_FDCWD, "/tmp", R_OK, AT_EACCESS));
    SHOW(syscall(SYS_faccessat2, file, "", W_OK, AT_EMPTY_PATH));
    SHOW(syscall(SYS_faccessat2, file, "", W_OK, 0));
    close(file);
}

static void times(void)
{
    static const struct timespec odd = {1, 1000000000}, omit = {0, UTIME_OMIT}, now = {0, UTIME_NOW},
                                 good = {5, 6};
    const char *path = "/tmp/arguments";
    SHOW(utimensat(AT_FDCWD, path, (struct timespec[]){odd, good}, 0));
    SHOW(utimensat(AT_FDCWD, path, (struct timespec[]){good, odd}, 0));
    SHOW(utimensat(AT_FDCWD, path, (struct timespec[]){good, good}, 1));
    SHOW(utimensat(AT_FDCWD, "/tmp/nothing", (struct timespec[]){omit, omit}, 0));
    SHOW(utimensat(AT_FDCWD, "/tmp/nothing", (struct timespec[]){now, omit}, 0));
    SHOW(utimensat(AT_FDCWD, path, (struct timespec[]){omit, good}, 0));
    SHOW(syscall(SYS_utimensat, AT_FDCWD, NULL, NULL, 0));
    SHOW(syscall(SYS_utimensat, -1, NULL, NULL, 0));
    struct stat about;
    stat(path, &about);
    printf("%ld.%ld\n", (long)about.st_mtim.tv_sec, about.st_mtim.tv_nsec);
}

static void priorities(void)
{
    static const int policies[] = {SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, 4, SCHED_IDLE, 6, 8, -1};
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++)
        printf("policy %d: %d to %d\n", policies[i], sched_get_priority_min(policies[i]),
               sched_get_priority_max(policies[i]));
    struct sched_param zero = {0}, high = {100};
    SHOW(syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &zero));
    SHOW(syscall(SYS_sched_setscheduler, 0, SCHED_RR, &high));
    SHOW(syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &high));
    SHOW(syscall(SYS_sched_setscheduler, 0, SCHED_BATCH, &zero));
    SHOW(syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &zero));
    SHOW(syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, NULL));
    SHOW(syscall(SYS_sched_setscheduler, -1, SCHED_OTHER, &zero));
    SHOW(syscall(SYS_sched_setscheduler, 0, -1, &zero));
    SHOW(syscall(SYS_sched_setscheduler, 0, 77, &zero));
    SHOW(syscall(SYS_sched_setparam, 0, &high));
    SHOW(high.sched_priority);
    SHOW(syscall(SYS_sched_getparam, 0, NULL));
    SHOW(syscall(SYS_sched_getscheduler, -1));
}

static void locks(void)
{
    int one = open("/tmp/arguments", O_RDWR), other = open("/tmp/arguments", O_RDWR), same = dup(one);
    SHOW(flock(one, LOCK_SH));
    SHOW(flock(other, LOCK_SH | LOCK_NB));
    SHOW(flock(one, LOCK_EX | LOCK_NB));
    SHOW(flock(other, LOCK_EX | LOCK_NB));
    SHOW(flock(same, LOCK_SH | LOCK_NB));
    SHOW(flock(other, LOCK_UN));
    SHOW(flock(one, LOCK_EX | LOCK_NB));
    SHOW(flock(same, LOCK_EX | LOCK_NB));
    SHOW(flock(other, LOCK_SH | LOCK_NB));
    close(one);
    SHOW(flock(other, LOCK_SH | LOCK_NB));
    close(same);
    SHOW(flock(other, LOCK_SH | LOCK_NB));
    SHOW(flock(other, LOCK_SH | LOCK_EX));
    SHOW(flock(-1, LOCK_SH));
    close(other);
}

int main(void)
{
    unlink("/tmp/arguments");
    directories();
    vectors();
    others();
    times();
    priorities();
    locks();
    unlink("/tmp/arguments");
    return 0;
}
