#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
int main(void)
{
    char text[32] = {0};
    int fd = open("/tmp/penglai-shared", O_RDWR | O_CREAT | O_TRUNC, 0600);
    unlink("/tmp/penglai-shared");
    ftruncate(fd, 8192);
    char *one = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    strcpy(one + 4096, "through the mapping");
    pread(fd, text, 19, 4096);
    puts(text);
    pwrite(fd, "through the file", 16, 0);
    printf("%.16s\n", one);
    ftruncate(fd, 100000);
    char *two = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4096);
    printf("%.19s\n", two);
    printf("%d\n", munmap(two, 4096));
    strcpy(one, "after");
    pread(fd, text, 6, 0);
    printf("%s %d %d\n", text, msync(one, 8192, MS_SYNC), munmap(one, 8192));
    int pair[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    printf("%zd", send(pair[0], "hello", 5, 0));
    printf(" %zd %.5s", recv(pair[1], text, 32, 0), text);
    printf(" %zd %s\n", recv(pair[1], text, 32, MSG_DONTWAIT), strerror(errno));
    shutdown(pair[0], SHUT_WR);
    printf("%zd", recv(pair[1], text, 32, 0));
    close(pair[1]);
    printf(" %zd %s\n", send(pair[0], "x", 1, MSG_NOSIGNAL), strerror(errno));
    return 0;
}
