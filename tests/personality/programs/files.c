#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#define T(x)                                                           \
    do {                                                               \
        errno = 0;                                                     \
        long r = (long)(x);                                            \
        printf("%-58s %ld %s\n", #x, r, r < 0 ? strerror(errno) : ""); \
    } while (0)
static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}
static void list(const char *path)
{
    char *names[32];
    int count = 0;
    DIR *directory = opendir(path);
    if (!directory) {
        printf("%s: %s\n", path, strerror(errno));
        return;
    }
    for (struct dirent *entry; (entry = readdir(directory));)
        names[count++] = strdup(entry->d_name);
    closedir(directory);
    qsort(names, (size_t)count, sizeof *names, by_name);
    for (int i = 0; i < count; i++)
        printf("%s ", names[i]);
    printf("in %s\n", path);
}
int main(void)
{
    char text[100], base[] = "/tmp/penglai-XXXXXX", *where = mkdtemp(base);
    struct stat about;
    umask(022);
    T(chdir(where));
    T(mkdir("a", 0777));
    T(mkdir("a", 0777));
    T(mkdir("no/b", 0777));
    T(mkdir("a/b/", 0777));
    T(rmdir("a"));
    int fd = open("a/file", O_RDWR | O_CREAT | O_EXCL, 0666);
    T(fd);
    T(open("a/file", O_RDWR | O_CREAT | O_EXCL, 0666));
    T(write(fd, "hello world", 11));
    T(pread(fd, text, 5, 6));
    T(lseek(fd, -5, SEEK_END));
    T(read(fd, text, 100));
    T(read(fd, text, 100));
    T(pwrite(fd, "X", 1, 20));
    T(fstat(fd, &about));
    printf("size %ld mode %o links %d\n", (long)about.st_size, about.st_mode, (int)about.st_nlink);
    T(ftruncate(fd, 3));
    T(ftruncate(fd, 6));
    T(pread(fd, text, 100, 0));
    printf("%d %d\n", text[2], text[5]);
    struct iovec pieces[2] = {{"ab", 2}, {"cde", 3}};
    T(lseek(fd, 0, SEEK_SET));
    T(writev(fd, pieces, 2));
    char *mapped = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    printf("mapped %.5s\n", mapped);
    T(link("a/file", "a/other"));
    T(stat("a/other", &about));
    printf("links %d\n", (int)about.st_nlink);
    T(symlink("file", "a/link"));
    T(readlink("a/link", text, sizeof text));
    T(lstat("a/link", &about));
    T(S_ISLNK(about.st_mode));
    T(symlink("loop", "loop"));
    T(open("loop", O_RDONLY));
    T(open("a/file/x", O_RDONLY));
    T(open("a/link/", O_RDONLY));
    T(open("a", O_WRONLY));
    T(open("a/link", O_RDONLY | O_NOFOLLOW));
    T(rename("a/file", "a/b/moved"));
    T(rename("a", "a/b/c"));
    T(rename("a/b", "c"));
    T(rename("c", "a"));
    T(unlink("a"));
    list("a");
    list("c");
    T(unlink("a/link"));
    T(unlink("a/other"));
    T(rmdir("a"));
    T(access("c/moved", R_OK | W_OK));
    T(chmod("c/moved", 0755));
    T(access("c/moved", X_OK));
    int copy = dup(fd);
    T(fcntl(copy, F_GETFL) & O_ACCMODE);
    T(fcntl(fd, F_SETFD, FD_CLOEXEC));
    T(fcntl(fd, F_GETFD));
    T(fcntl(copy, F_GETFD));
    T(close(copy));
    T(close(copy));
    T(unlink("c/moved"));
    T(pread(fd, text, 100, 0));
    T(close(fd));
    T(read(99, text, 1));
    T(write(1, (char *)8, 1));
    T(open((char *)8, O_RDONLY));
    int append = open("log", O_WRONLY | O_CREAT | O_APPEND, 0600);
    T(write(append, "one", 3));
    T(lseek(append, 0, SEEK_SET));
    T(write(append, "two", 3));
    T(stat("log", &about));
    printf("size %ld\n", (long)about.st_size);
    int pipes[2];
    T(pipe2(pipes, O_NONBLOCK));
    T(read(pipes[0], text, 10));
    T(write(pipes[1], "abc", 3));
    struct pollfd polled[2] = {{pipes[0], POLLIN, 0}, {pipes[1], POLLOUT, 0}};
    T(poll(polled, 2, 0));
    T(read(pipes[0], text, 10));
    T(poll(polled, 1, 0));
    T(close(pipes[1]));
    T(read(pipes[0], text, 10));
    int event = eventfd(3, EFD_NONBLOCK), epoll = epoll_create1(0);
    struct epoll_event wanted = {.events = EPOLLIN, .data.u64 = 77}, got;
    T(epoll_ctl(epoll, EPOLL_CTL_ADD, event, &wanted));
    T(epoll_ctl(epoll, EPOLL_CTL_ADD, event, &wanted));
    T(epoll_wait(epoll, &got, 1, 0));
    T(got.data.u64);
    T(read(event, text, 8));
    T(read(event, text, 8));
    T(epoll_wait(epoll, &got, 1, 5));
    T(write(open("/dev/null", O_WRONLY), "x", 1));
    T(write(open("/dev/full", O_WRONLY), "x", 1));
    T(read(open("/dev/zero", O_RDONLY), text, 4));
    FILE *file = fopen("numbers", "w+");
    for (int i = 0; i < 20000; i++)
        fprintf(file, "%d\n", i);
    rewind(file);
    long sum = 0, number;
    while (fscanf(file, "%ld", &number) == 1)
        sum += number;
    printf("sum %ld\n", sum);
    fclose(file);
    list(".");
    return 0;
}
