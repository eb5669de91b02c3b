/* Pipes, sockets, and waiting for them. */
#include "cases.h"
#include <arpa/inet.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

static char text[200000];

static void pipes(void)
{
    int ends[2], bytes = 0;
    T(pipe(ends));
    SHOW(ends[0]);
    SHOW(ends[1]);
    T(pipe2(ends, O_NONBLOCK | O_CLOEXEC));
    T(pipe2(ends, 0x1));
    T(pipe(NOWHERE));
    T(read(ends[0], text, 1));
    T(write(ends[1], "abc", 3));
    T(ioctl(ends[0], FIONREAD, &bytes));
    SHOW(bytes);
    T(read(ends[0], text, 0));
    T(read(ends[0], NOWHERE, 2));
    T(read(ends[0], text, 2));
    T(read(ends[0], text, 2));
    T(read(ends[1], text, 2));
    T(write(ends[0], text, 2));
    T(lseek(ends[0], 0, SEEK_SET));
    T(pread(ends[0], text, 1, 0));
    T(pwrite(ends[1], text, 1, 0));
    T(ftruncate(ends[1], 0));
    T(fcntl(ends[1], F_GETPIPE_SZ));
    T(write(ends[1], text, 70000));
    T(write(ends[1], text, 1));
    T(fcntl(ends[1], F_SETPIPE_SZ, 4096));
    T(read(ends[0], text, 100000));
    T(fcntl(ends[1], F_SETPIPE_SZ, 4096));
    T(fcntl(ends[0], F_GETPIPE_SZ));
    T(write(ends[1], text, 4096));
    T(write(ends[1], text, 10));
    T(read(ends[0], text, 4096));
    T(close(ends[1]));
    T(read(ends[0], text, 10));
    T(close(ends[0]));
    signal(SIGPIPE, SIG_IGN);
    T(pipe(ends));
    T(close(ends[0]));
    T(write(ends[1], text, 10));
    T(close(ends[1]));
    T(fcntl(0, F_GETPIPE_SZ) == 0);
}

static void pairs(void)
{
    int ends[2], others[2], value = 0;
    socklen_t size = sizeof value;
    T(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
    T(socketpair(AF_UNIX, SOCK_STREAM, 7, others));
    T(socketpair(AF_INET, SOCK_STREAM, 0, others));
    T(socketpair(99, SOCK_STREAM, 0, others));
    T(socketpair(AF_UNIX, SOCK_STREAM, 0, NOWHERE));
    T(send(ends[0], "hello", 5, 0));
    T(recv(ends[1], text, 3, 0));
    T(recv(ends[1], text, 30, MSG_DONTWAIT));
    T(recv(ends[1], text, 30, MSG_DONTWAIT));
    T(getsockopt(ends[0], SOL_SOCKET, SO_TYPE, &value, &size));
    SHOW(value == SOCK_STREAM);
    T(getsockopt(ends[0], SOL_SOCKET, SO_DOMAIN, &value, &size));
    SHOW(value);
    T(getsockopt(ends[0], SOL_SOCKET, SO_ERROR, &value, &size));
    SHOW(value);
    T(getsockopt(ends[0], SOL_SOCKET, SO_TYPE, &value, NOWHERE));
    T(getsockopt(-1, SOL_SOCKET, SO_TYPE, &value, &size));
    T(getsockopt(0, SOL_SOCKET, SO_TYPE, &value, &size));
    T(setsockopt(ends[0], SOL_SOCKET, SO_KEEPALIVE, &value, 1));
    T(setsockopt(ends[0], SOL_SOCKET, SO_KEEPALIVE, &value, sizeof value));
    T(setsockopt(ends[0], SOL_SOCKET, SO_KEEPALIVE, NOWHERE, sizeof value));
    struct sockaddr_un name;
    size = sizeof name;
    T(getsockname(ends[0], (struct sockaddr *)&name, &size));
    SHOW(size);
    T(getpeername(ends[0], (struct sockaddr *)&name, &size));
    T(shutdown(ends[0], 7));
    T(shutdown(ends[0], SHUT_WR));
    T(send(ends[0], "x", 1, MSG_NOSIGNAL));
    T(recv(ends[1], text, 3, 0));
    T(send(ends[1], "back", 4, 0));
    T(recv(ends[0], text, 10, 0));
    T(shutdown(0, SHUT_WR));
    T(close(ends[1]));
    T(recv(ends[0], text, 10, 0));
    T(close(ends[0]));
    T(listen(-1, 5));
    T(accept(0, NULL, NULL));
}

static void receiving(void)
{
    int ends[2], file = open("file", O_RDWR | O_CREAT, 0600);
    char one[4] = "", two[4] = "";
    struct iovec both[2] = {{one, 4}, {two, 4}};
    struct msghdr message = {.msg_iov = both, .msg_iovlen = 1};
    socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
    T(send(ends[0], "abcdefgh", 8, 0));
    T(recv(ends[1], text, 3, MSG_PEEK));
    T(recv(ends[1], text, 100, MSG_PEEK));
    SHOW(text[0]);
    T(recvmsg(ends[1], &message, MSG_PEEK));
    SHOW(one[3]);
    message.msg_iovlen = 2;
    T(recvmsg(ends[1], &message, 0));
    SHOW(two[3]);
    T(recv(ends[1], text, 3, MSG_PEEK | MSG_DONTWAIT));
    T(send(ends[0], "abcdefgh", 8, 0));
    T(recv(ends[1], text, 8, MSG_WAITALL));
    T(send(ends[0], "abc", 3, 0));
    T(recv(ends[1], text, 8, MSG_WAITALL | MSG_DONTWAIT));
    T(send(ends[0], "abc", 3, 0));
    T(shutdown(ends[0], SHUT_WR));
    T(recv(ends[1], text, 8, MSG_WAITALL));
    T(recv(ends[1], text, 8, MSG_WAITALL));
    T(write(file, "0123456789", 10));
    off_t at = 2;
    T(sendfile(ends[1], file, &at, 100));
    SHOW(at);
    T(recv(ends[0], text, 100, 0));
    SHOW(text[0]);
    T(close(ends[0]));
    at = 0;
    T(sendfile(ends[1], file, &at, 100));
    T(close(ends[1]));
    T(close(file));
    file = memfd_create("name", MFD_CLOEXEC);
    T(fcntl(file, F_GETFD));
    T(write(file, "content", 7));
    T(pread(file, text, 100, 3));
    T(ftruncate(file, 3));
    T(lseek(file, 0, SEEK_END));
    T(close(file));
    T(memfd_create("name", 0x8000));
    T(memfd_create(NOWHERE, 0));
}

static void local(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "socket"};
    struct sockaddr_un other = {.sun_family = AF_UNIX, .sun_path = "none"};
    struct sockaddr *at = (struct sockaddr *)&name;
    struct stat about;
    int server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
    T(socket(AF_UNIX, 99, 0));
    T(socket(AF_UNIX, SOCK_STREAM, 99));
    T(socket(99, SOCK_STREAM, 0));
    T(listen(server, 5));
    T(accept(server, NULL, NULL));
    T(connect(client, at, sizeof name));
    T(bind(server, at, 1));
    T(bind(server, at, 500));
    T(bind(server, NOWHERE, sizeof name));
    T(bind(server, at, sizeof name));
    T(bind(client, at, sizeof name));
    T(stat("socket", &about));
    SHOW(S_ISSOCK(about.st_mode));
    T(open("socket", O_RDWR));
    T(connect(client, at, sizeof name));
    T(listen(server, 5));
    T(connect(client, (struct sockaddr *)&other, sizeof other));
    T(connect(client, at, sizeof name));
    T(connect(client, at, sizeof name));
    T(send(client, "early", 5, 0));
    int peer = accept4(server, NULL, NULL, SOCK_NONBLOCK);
    T(accept4(server, NULL, NULL, 1));
    T(recv(peer, text, 10, 0));
    T(recv(peer, text, 10, 0));
    socklen_t size = sizeof other;
    T(getsockname(peer, (struct sockaddr *)&other, &size));
    SHOW(strcmp(other.sun_path, "socket"));
    size = sizeof other;
    T(getpeername(client, (struct sockaddr *)&other, &size));
    SHOW(size);
    T(fcntl(server, F_SETFL, O_NONBLOCK));
    T(accept(server, NULL, NULL));
    T(close(server));
    T(unlink("socket"));
    T(close(client));
    T(recv(peer, text, 10, 0));
    T(send(peer, "x", 1, MSG_NOSIGNAL));
    T(close(peer));
    T(send(-1, "x", 1, 0));
    T(recv(0, text, 1, 0));
}

static void internet(void)
{
    struct sockaddr_in name = {.sin_family = AF_INET}, other = {.sin_family = AF_INET};
    struct sockaddr *at = (struct sockaddr *)&name;
    socklen_t size = sizeof name;
    int value = 0;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
        client = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
    T(fcntl(server, F_GETFD));
    T(bind(server, at, 4));
    name.sin_family = AF_UNIX;
    T(bind(server, at, size));
    name.sin_family = AF_INET;
    other.sin_addr.s_addr = htonl(0xc0000201);
    T(bind(server, (struct sockaddr *)&other, size));
    T(bind(server, at, size));
    T(getsockname(server, at, &size));
    SHOW(name.sin_port != 0);
    T(getpeername(server, at, &size));
    T(connect(client, at, sizeof name));
    T(listen(server, 4));
    T(getsockopt(server, SOL_SOCKET, SO_ACCEPTCONN, &value, &size));
    SHOW(value);
    int second = socket(AF_INET, SOCK_STREAM, 0);
    T(bind(second, at, sizeof name));
    T(send(second, "x", 1, MSG_NOSIGNAL));
    T(recv(second, text, 1, 0));
    T(shutdown(second, SHUT_RD));
    T(fcntl(second, F_SETFL, O_NONBLOCK));
    T(connect(second, at, sizeof name));
    struct pollfd one = {.fd = second, .events = POLLOUT};
    T(poll(&one, 1, 1000));
    SHOW(one.revents == POLLOUT);
    T(getsockopt(second, SOL_SOCKET, SO_ERROR, &value, &size));
    SHOW(value);
    int first = accept(server, (struct sockaddr *)&other, &size);
    SHOW(size);
    SHOW(ntohl(other.sin_addr.s_addr));
    T(send(first, "one", 3, 0));
    T(poll(&one, 1, 0));
    one.events = POLLIN;
    T(poll(&one, 1, 1000));
    T(recv(second, text, 10, MSG_DONTWAIT));
    T(close(first));
    T(poll(&one, 1, 1000));
    T(recv(second, text, 10, 0));
    T(close(server));
    T(close(second));
    second = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    T(connect(second, at, sizeof name));
    one = (struct pollfd){.fd = second, .events = POLLOUT};
    T(poll(&one, 1, 1000));
    SHOW((one.revents & (POLLOUT | POLLERR)) == (POLLOUT | POLLERR));
    T(getsockopt(second, SOL_SOCKET, SO_ERROR, &value, &size));
    SHOW(value);
    T(getsockopt(second, SOL_SOCKET, SO_ERROR, &value, &size));
    SHOW(value);
    T(close(second));
    T(close(client));
}

static void waiting(void)
{
    int ends[2], file = open("f", O_RDWR | O_CREAT, 0600);
    struct pollfd many[3];
    struct timeval none = {0, 0}, odd = {0, -1};
    fd_set set;
    T(pipe2(ends, O_NONBLOCK));
    many[0] = (struct pollfd){.fd = ends[0], .events = POLLIN};
    many[1] = (struct pollfd){.fd = ends[1], .events = POLLOUT};
    many[2] = (struct pollfd){.fd = -1, .events = POLLOUT, .revents = 77};
    T(poll(many, 3, 0));
    SHOW(many[0].revents);
    SHOW(many[1].revents);
    SHOW(many[2].revents);
    many[2].fd = 99;
    T(poll(many, 3, 0));
    SHOW(many[2].revents);
    many[2] = (struct pollfd){.fd = file, .events = POLLIN | POLLOUT};
    T(poll(many, 3, -1));
    SHOW(many[2].revents);
    T(write(ends[1], "x", 1));
    T(poll(many, 1, -1));
    T(poll(NULL, 0, 1));
    T(poll(NOWHERE, 1, 0));
    T(poll(many, 100000, 0));
    FD_ZERO(&set);
    FD_SET(ends[0], &set);
    T(select(ends[0] + 1, &set, NULL, NULL, &none));
    SHOW(FD_ISSET(ends[0], &set));
    T(select(-1, &set, NULL, NULL, &none));
    T(select(ends[0] + 1, &set, NULL, NULL, &odd));
    FD_SET(99, &set);
    T(select(100, &set, NULL, NULL, &none));
    T(read(ends[0], text, 1));
    FD_ZERO(&set);
    FD_SET(ends[0], &set);
    T(select(ends[0] + 1, &set, NULL, NULL, &none));
    SHOW(FD_ISSET(ends[0], &set));
    T(close(ends[1]));
    T(poll(many, 1, 0));
    SHOW(many[0].revents);
    T(close(ends[0]));
    T(pipe(ends));
    T(close(ends[0]));
    many[1] = (struct pollfd){.fd = ends[1], .events = POLLOUT};
    T(poll(many + 1, 1, 0));
    SHOW(many[1].revents);
    T(close(ends[1]));
    T(close(file));
}

static void epolls(void)
{
    int ends[2], epoll = epoll_create1(EPOLL_CLOEXEC), file = open("f", O_RDWR);
    struct epoll_event wanted = {.events = EPOLLIN, .data.u64 = 42}, got[4];
    T(epoll_create1(77));
    T(epoll_create(0));
    T(pipe2(ends, O_NONBLOCK));
    T(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &wanted));
    T(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &wanted));
    T(epoll_ctl(epoll, EPOLL_CTL_ADD, file, &wanted));
    T(epoll_ctl(epoll, EPOLL_CTL_ADD, 99, &wanted));
    T(epoll_ctl(epoll, EPOLL_CTL_ADD, epoll, &wanted));
    T(epoll_ctl(epoll, EPOLL_CTL_MOD, ends[1], &wanted));
    T(epoll_ctl(epoll, EPOLL_CTL_DEL, ends[1], NULL));
    T(epoll_ctl(epoll, 9, ends[1], &wanted));
    T(epoll_ctl(ends[0], EPOLL_CTL_ADD, ends[1], &wanted));
    T(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[1], NOWHERE));
    T(epoll_wait(epoll, got, 4, 0));
    T(write(ends[1], "ab", 2));
    T(epoll_wait(epoll, got, 4, -1));
    SHOW(got[0].data.u64);
    SHOW(got[0].events);
    T(epoll_wait(epoll, got, 0, 0));
    T(epoll_wait(ends[0], got, 4, 0));
    T(epoll_wait(99, got, 4, 0));
    T(epoll_wait(epoll, NOWHERE, 4, 0));
    wanted.events = EPOLLIN | EPOLLET;
    T(epoll_ctl(epoll, EPOLL_CTL_MOD, ends[0], &wanted));
    T(epoll_wait(epoll, got, 4, 0));
    T(epoll_wait(epoll, got, 4, 0));
    T(write(ends[1], "c", 1));
    T(epoll_wait(epoll, got, 4, 0));
    wanted.events = EPOLLIN | EPOLLONESHOT;
    T(epoll_ctl(epoll, EPOLL_CTL_MOD, ends[0], &wanted));
    T(epoll_wait(epoll, got, 4, 0));
    T(epoll_wait(epoll, got, 4, 0));
    T(epoll_ctl(epoll, EPOLL_CTL_MOD, ends[0], &wanted));
    T(close(ends[1]));
    T(epoll_wait(epoll, got, 4, 0));
    SHOW(got[0].events);
    T(epoll_ctl(epoll, EPOLL_CTL_DEL, ends[0], NULL));
    T(close(ends[0]));
    T(close(epoll));
    T(close(file));
}

static void events(void)
{
    uint64_t value = 5;
    int event = eventfd(3, EFD_NONBLOCK);
    T(eventfd(0, 77));
    T(read(event, &value, 4));
    T(read(event, &value, 8));
    SHOW(value);
    T(read(event, &value, 8));
    value = 7;
    T(write(event, &value, 4));
    T(write(event, &value, 8));
    value = UINT64_MAX;
    T(write(event, &value, 8));
    value = UINT64_MAX - 1;
    T(write(event, &value, 8));
    T(read(event, &value, 8));
    SHOW(value);
    T(close(event));
    event = eventfd(2, EFD_NONBLOCK | EFD_SEMAPHORE);
    T(read(event, &value, 8));
    SHOW(value);
    T(read(event, &value, 8));
    T(read(event, &value, 8));
    T(lseek(event, 0, SEEK_SET));
    T(close(event));
}

int main(int count, char **given)
{
    if (count > 1 && chdir(given[1]))
        return 1;
    pipes();
    pairs();
    receiving();
    local();
    internet();
    waiting();
    epolls();
    events();
    return 0;
}
