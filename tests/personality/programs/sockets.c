/* Sockets between threads of one program: on 127.0.0.1, by path, and by a name that is no file. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PATH "/tmp/penglai-test-socket"

static void show(const char *what, long result)
{
    printf("%s: %ld %d\n", what, result, result < 0 ? errno : 0);
}

#define SHOW(call) show(#call, call)

/* Answers each connection with what it gets, in capitals, until there are no more to come. */
static void *serve(void *given)
{
    int listener = (int)(long)given;
    for (int i = 0; i < 3; i++) {
        char text[64];
        int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        ssize_t size;
        while ((size = recv(connection, text, sizeof text, 0)) > 0) {
            for (ssize_t k = 0; k < size; k++)
                text[k] = (char)(text[k] >= 'a' && text[k] <= 'z' ? text[k] - 32 : text[k]);
            send(connection, text, (size_t)size, MSG_NOSIGNAL);
        }
        close(connection);
    }
    return NULL;
}

static void ask(int family, const void *name, socklen_t size, const char *text)
{
    char answer[64] = "";
    int client = socket(family, SOCK_STREAM, 0);
    if (connect(client, name, size)) {
        show("connect", -1);
        return;
    }
    send(client, text, strlen(text), 0);
    shutdown(client, SHUT_WR);
    ssize_t all = recv(client, answer, sizeof answer, MSG_WAITALL);
    printf("%.*s %d\n", (int)all, answer, (int)recv(client, answer, 1, 0));
    close(client);
}

static void between_threads(int family, int listener, const void *name, socklen_t size)
{
    pthread_t server;
    pthread_create(&server, NULL, serve, (void *)(long)listener);
    ask(family, name, size, "one");
    ask(family, name, size, "two and more");
    ask(family, name, size, "three");
    pthread_join(server, NULL);
    close(listener);
}

static void inet(void)
{
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, other = {0};
    socklen_t size = sizeof name;
    SHOW(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
    SHOW(setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one));
    SHOW(bind(listener, (void *)&name, sizeof name));
    SHOW(listen(listener, 5));
    SHOW(getsockname(listener, (void *)&name, &size));
    printf("%s %d %u\n", inet_ntoa(name.sin_addr), ntohs(name.sin_port) > 1024, size);
    SHOW(getpeername(listener, (void *)&other, &size));
    SHOW(bind(listener, (void *)&name, sizeof name));
    int second = socket(AF_INET, SOCK_STREAM, 0);
    SHOW(bind(second, (void *)&name, sizeof name));
    int client = socket(AF_INET, SOCK_STREAM, 0);
    SHOW(connect(client, (void *)&name, sizeof name));
    SHOW(connect(client, (void *)&name, sizeof name));
    struct pollfd in = {listener, POLLIN, 0};
    SHOW(poll(&in, 1, -1));
    int accepted = accept(listener, (void *)&other, &size);
    struct sockaddr_in own;
    getsockname(client, (void *)&own, &size);
    printf("same %d %u\n", !memcmp(&own, &other, sizeof own), size);
    getpeername(client, (void *)&own, &size);
    printf("same %d\n", !memcmp(&own, &name, sizeof own));
    int value = 7;
    socklen_t length = sizeof value;
    getsockopt(listener, SOL_SOCKET, SO_ACCEPTCONN, &value, &length);
    printf("listens %d\n", value);
    getsockopt(client, SOL_SOCKET, SO_ERROR, &value, &length);
    printf("error %d\n", value);
    close(accepted);
    char byte;
    SHOW(read(client, &byte, 1));
    close(client);
    close(second);
    fcntl(listener, F_SETFL, O_NONBLOCK);
    SHOW(accept(listener, NULL, NULL));
    SHOW(poll(&in, 1, 0));
    fcntl(listener, F_SETFL, 0);
    between_threads(AF_INET, listener, &name, sizeof name);
    ask(AF_INET, &name, sizeof name, "nobody is there");
}

static void local(const char *path, size_t length)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX}, found;
    socklen_t size = (socklen_t)(2 + length), got = sizeof found;
    memcpy(name.sun_path, path, length);
    struct stat about;
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    SHOW(listen(listener, 1));
    SHOW(connect(listener, (void *)&name, size));
    SHOW(bind(listener, (void *)&name, size));
    if (!*path)
        SHOW(bind(listener, (void *)&name, size));
    SHOW(getsockname(listener, (void *)&found, &got));
    printf("%u %.5s\n", got, found.sun_path + !*found.sun_path);
    int second = socket(AF_UNIX, SOCK_STREAM, 0);
    SHOW(bind(second, (void *)&name, size));
    SHOW(connect(second, (void *)&name, size));
    SHOW(listen(listener, 5));
    if (*path) {
        SHOW(stat(path, &about));
        printf("%o\n", about.st_mode & S_IFMT);
        SHOW(open(path, O_RDWR));
    }
    between_threads(AF_UNIX, listener, &name, size);
    ask(AF_UNIX, &name, size, "nobody is there");
    SHOW(bind(second, (void *)&name, size));
    if (*path)
        SHOW(unlink(path));
    close(second);
}

static void wrong(void)
{
    struct sockaddr_in name = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(1)};
    int file = open("/dev/null", O_RDWR), fresh = socket(AF_INET, SOCK_STREAM, 0),
        local = socket(AF_UNIX, SOCK_STREAM, 0);
    char byte = 0;
    signal(SIGPIPE, SIG_IGN);
    SHOW(socket(12345, SOCK_STREAM, 0));
    SHOW(socket(AF_UNIX, SOCK_STREAM, 77));
    SHOW(bind(file, (void *)&name, sizeof name));
    SHOW(bind(-1, (void *)&name, sizeof name));
    SHOW(bind(fresh, (void *)&name, 8));
    SHOW(bind(local, (void *)&name, sizeof name));
    SHOW(bind(fresh, (void *)8, sizeof name));
    SHOW(connect(fresh, (void *)&name, sizeof name));
    SHOW(accept(fresh, NULL, NULL));
    SHOW(accept4(fresh, NULL, NULL, 1));
    SHOW(accept(file, NULL, NULL));
    SHOW(shutdown(fresh, SHUT_RDWR));
    SHOW(send(local, &byte, 1, 0));
    SHOW(listen(file, 1));
    struct pollfd list[] = {{local, POLLIN | POLLOUT, 0}};
    SHOW(poll(list, 1, 0));
    printf("%x\n", list[0].revents);
}

static void events(void)
{
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), all = epoll_create1(0);
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "\0events"};
    bind(listener, (void *)&name, 9);
    listen(listener, 2);
    struct epoll_event event = {EPOLLIN, {.fd = listener}}, got = {0};
    epoll_ctl(all, EPOLL_CTL_ADD, listener, &event);
    SHOW(epoll_wait(all, &got, 1, 0));
    int clients[2];
    for (int i = 0; i < 2; i++) {
        clients[i] = socket(AF_UNIX, SOCK_STREAM, 0);
        connect(clients[i], (void *)&name, 9);
    }
    SHOW(epoll_wait(all, &got, 1, -1));
    int first = accept(listener, NULL, NULL);
    event.data.fd = first;
    epoll_ctl(all, EPOLL_CTL_ADD, first, &event);
    int last = accept(listener, NULL, NULL);
    SHOW(epoll_wait(all, &got, 1, 0));
    write(clients[0], "x", 1);
    SHOW(epoll_wait(all, &got, 1, -1));
    printf("first %d\n", got.data.fd == first);
    close(listener);
    close(clients[1]);
    char byte;
    SHOW(read(last, &byte, 1));
    SHOW(read(first, &byte, 1));
}

int main(void)
{
    unlink(PATH);
    inet();
    local(PATH, strlen(PATH) + 1);
    local("\0penglai-name", 13);
    wrong();
    events();
    return 0;
}
