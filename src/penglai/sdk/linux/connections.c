/*
 * Sockets that are not connected, and how they become so, inside this enclave: AF_UNIX, and AF_INET on 127.0.0.0/8.
 *
 * A connection is a pair of sockets.  The one that connects becomes its one end, and the other end waits at the one
 * that listens until it is accepted.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include "linux.h"

#define WAITING_MOST 128
#define PATH_AT 2 /* in a name of AF_UNIX */
#define INET_SIZE 16
#define LOOPBACK 127
#define FIRST_PORT 32768
#define LAST_PORT 60999

struct socket {
    struct socket_name name; /* size 0: not bound */
    struct node *node;       /* that a path of AF_UNIX has made */
    struct file *waiting[WAITING_MOST];
    int listens, most, first, count;
    struct socket *next; /* of those that are bound */
};

static struct socket *bound;

/* ---- names ---- */

static unsigned port_of(const struct socket_name *name)
{
    const unsigned char *rest = (const unsigned char *)name->rest;
    return (unsigned)rest[0] << 8 | rest[1];
}

static void set_port(struct socket_name *name, unsigned port)
{
    name->rest[0] = (char)(port >> 8);
    name->rest[1] = (char)port;
}

static unsigned address_of(const struct socket_name *name)
{
    const unsigned char *rest = (const unsigned char *)name->rest + 2;
    return (unsigned)rest[0] << 24 | (unsigned)rest[1] << 16 | (unsigned)rest[2] << 8 | rest[3];
}

static int is_path(const struct socket_name *name)
{
    return name->family == AF_UNIX && name->size > PATH_AT && name->rest[0];
}

/* With its NUL, which a name need not have. */
static void path_of(const struct socket_name *name, char out[sizeof name->rest + 1])
{
    size_t length = name->size - PATH_AT;
    memcpy(out, name->rest, length);
    out[length] = 0;
}

static long read_name(word address, word size, unsigned family, struct socket_name *name)
{
    *name = (struct socket_name){0};
    if (size < sizeof name->family || size > offsetof(struct socket_name, size))
        return -EINVAL;
    if (memory_reach(address, size, 0))
        return -EFAULT;
    memcpy(name, (const void *)address, size);
    name->size = (unsigned)size;
    if (family == AF_INET && size < INET_SIZE)
        return -EINVAL;
    if (name->family != family)
        return family == AF_INET ? -EAFNOSUPPORT : -EINVAL;
    if (family == AF_INET)
        name->size = INET_SIZE;
    if (is_path(name)) {
        char path[sizeof name->rest + 1];
        path_of(name, path);
        size = PATH_AT + strlen(path) + 1;
        name->size = size < name->size ? (unsigned)size : name->size;
    }
    return 0;
}

static int is_same(const struct socket_name *one, const struct socket_name *other)
{
    return one->size == other->size && !memcmp(one->rest, other->rest, one->size - PATH_AT);
}

/* Would a connection to this name reach that socket?  node: that of a path, else NULL. */
static int meets(const struct socket *socket, const struct socket_name *name, const struct node *node)
{
    if (socket->name.family != name->family)
        return 0;
    if (name->family == AF_UNIX)
        return node ? socket->node == node : !socket->node && is_same(&socket->name, name);
    unsigned own = address_of(&socket->name), other = address_of(name);
    return port_of(&socket->name) == port_of(name) && (!own || !other || own == other);
}

static struct socket *find_bound(const struct socket_name *name, const struct node *node)
{
    struct socket *socket = bound;
    while (socket && !meets(socket, name, node))
        socket = socket->next;
    return socket;
}

/* A port that nobody has; 0 if there is none. */
static unsigned free_port(struct socket_name name)
{
    static unsigned last = LAST_PORT;
    for (unsigned tries = FIRST_PORT; tries <= LAST_PORT; tries++) {
        last = last < LAST_PORT ? last + 1 : FIRST_PORT;
        set_port(&name, last);
        if (!find_bound(&name, NULL))
            return last;
    }
    return 0;
}

/* ---- what is open ---- */

static struct socket *socket_of(const struct file *file)
{
    return file->more;
}

const struct socket_name *socket_name(const struct file *file)
{
    return &socket_of(file)->name;
}

int socket_listens(const struct file *file)
{
    return socket_of(file)->listens;
}

unsigned socket_ready(const struct file *file)
{
    const struct socket *socket = socket_of(file);
    if (socket->listens)
        return socket->count ? POLLIN | POLLRDNORM : 0;
    return POLLOUT | POLLWRNORM | POLLHUP;
}

/* It is bound no more, and nobody waits at it. */
static void dissolve(struct socket *socket)
{
    for (struct socket **link = &bound; *link; link = &(*link)->next)
        if (*link == socket) {
            *link = socket->next;
            break;
        }
    for (; socket->count; socket->count--) {
        file_release(socket->waiting[socket->first]);
        socket->first = (socket->first + 1) % WAITING_MOST;
    }
    if (socket->node) {
        socket->node->uses--;
        tree_drop(socket->node);
    }
    heap_free(socket, sizeof *socket);
}

void socket_release(struct file *file)
{
    dissolve(socket_of(file));
    wake_files();
}

static long find(word number, struct file **file)
{
    long error = socket_find(number, file);
    return error ? error : (*file)->kind == SOCKET ? 0 : -EISCONN;
}

/* ---- calls ---- */

long call_socket(word domain, word type, word protocol)
{
    word kind = type & ~(word)(SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (domain != AF_UNIX && domain != AF_INET)
        return -EAFNOSUPPORT;
    if (kind != SOCK_STREAM)
        return -ESOCKTNOSUPPORT;
    if (protocol && (domain == AF_UNIX || protocol != IPPROTO_TCP))
        return -EPROTONOSUPPORT;
    struct file *file = file_new(SOCKET, O_RDWR | (type & SOCK_NONBLOCK ? O_NONBLOCK : 0));
    struct socket *socket = file ? heap_new(sizeof *socket) : NULL;
    if (!socket) {
        if (file)
            heap_free(file, sizeof *file);
        return -ENOBUFS;
    }
    socket->name.family = (unsigned short)domain;
    file->more = socket;
    long number = descriptor_new(file, 0, !!(type & SOCK_CLOEXEC));
    if (number < 0)
        file_release(file);
    return number;
}

static long bind_path(struct socket *socket, const struct socket_name *name)
{
    struct place place;
    char path[sizeof name->rest + 1];
    path_of(name, path);
    long error = tree_walk(tree_current, path, 0, &place);
    if (error)
        return error;
    if (place.node || !place.directory)
        return -EADDRINUSE;
    if (place.directory->hosts)
        return -EPERM;
    socket->node = tree_add(place.directory, place.name, place.length, S_IFSOCK | (0777 & ~tree_umask));
    if (!socket->node)
        return -ENOSPC;
    socket->node->uses++;
    return 0;
}

static long bind_port(struct socket_name *name)
{
    unsigned address = address_of(name);
    if (address && address >> 24 != LOOPBACK)
        return -EADDRNOTAVAIL;
    if (port_of(name))
        return find_bound(name, NULL) ? -EADDRINUSE : 0;
    unsigned port = free_port(*name);
    set_port(name, port);
    return port ? 0 : -EADDRINUSE;
}

static long bind_to(struct socket *socket, struct socket_name *name)
{
    long error = 0;
    if (name->family == AF_INET)
        error = bind_port(name);
    else if (is_path(name))
        error = bind_path(socket, name);
    else if (name->size == PATH_AT)
        return -EINVAL; /* Linux makes a name up */
    else if (find_bound(name, NULL))
        error = -EADDRINUSE;
    if (error)
        return error;
    socket->name = *name;
    socket->next = bound;
    bound = socket;
    return 0;
}

long call_bind(word number, word address, word size)
{
    struct file *file;
    struct socket_name name;
    long error = find(number, &file);
    if (error)
        return error == -EISCONN ? -EINVAL : error;
    struct socket *socket = socket_of(file);
    error = read_name(address, size, socket->name.family, &name);
    if (error)
        return error;
    return socket->name.size ? -EINVAL : bind_to(socket, &name);
}

long call_listen(word number, word backlog)
{
    struct file *file;
    long error = find(number, &file);
    if (error)
        return error == -EISCONN ? -EINVAL : error;
    struct socket *socket = socket_of(file);
    if (!socket->name.size) {
        struct socket_name any = {.family = AF_INET, .size = INET_SIZE};
        error = socket->name.family == AF_INET ? bind_to(socket, &any) : -EINVAL;
        if (error)
            return error;
    }
    int most = (int)backlog < 0 || (int)backlog > WAITING_MOST ? WAITING_MOST : (int)backlog;
    socket->most = most ? most : 1;
    socket->listens = 1;
    return 0;
}

/* Who listens where a name leads, or an error. */
static long find_listener(struct socket_name *name, struct socket **listener)
{
    struct node *node = NULL;
    if (name->family == AF_INET) {
        unsigned address = address_of(name);
        if (address && address >> 24 != LOOPBACK)
            return -ENETUNREACH;
    } else if (is_path(name)) {
        struct place place;
        char path[sizeof name->rest + 1];
        path_of(name, path);
        long error = tree_walk(tree_current, path, 1, &place);
        if (error || !place.node)
            return error ? error : -ENOENT;
        node = place.node;
    }
    *listener = find_bound(name, node);
    return *listener && (*listener)->listens ? 0 : -ECONNREFUSED;
}

/* The socket becomes an end of a pair, whose other end waits at the listener. */
static long join(struct file *file, struct socket *listener, const struct socket_name *remote)
{
    struct file *ends[2];
    struct socket *own = socket_of(file);
    struct socket_name local = own->name;
    if (!local.size) {
        local.size = local.family == AF_INET ? INET_SIZE : sizeof local.family;
        if (local.family == AF_INET) {
            memcpy(local.rest + 2, remote->rest + 2, 4);
            set_port(&local, free_port(local));
        }
    }
    long error = pair_new(ends, file->flags & O_NONBLOCK);
    if (error)
        return error;
    *pair_names(ends[0]) = (struct pair_names){local, *remote};
    *pair_names(ends[1]) = (struct pair_names){*remote, local};
    dissolve(own);
    file->kind = PAIR;
    file->more = ends[0]->more;
    heap_free(ends[0], sizeof *ends[0]);
    listener->waiting[(listener->first + listener->count++) % WAITING_MOST] = ends[1];
    wake_files();
    return 0;
}

long call_connect(word number, word address, word size)
{
    struct file *file;
    struct socket_name name;
    struct socket *listener;
    long error = find(number, &file);
    if (!error && socket_listens(file))
        error = -EISCONN;
    if (!error)
        error = read_name(address, size, socket_name(file)->family, &name);
    if (!error)
        error = find_listener(&name, &listener);
    if (error)
        return error;
    if (name.family == AF_INET && !address_of(&name))
        name.rest[2] = LOOPBACK, name.rest[5] = 1;
    if (listener->count >= listener->most)
        return file->flags & O_NONBLOCK ? -EAGAIN : wait_for(WAITS_FILES, NEVER);
    return join(file, listener, &name);
}

long call_accept4(word number, word name, word size, word flags)
{
    struct file *file;
    long error = socket_find(number, &file);
    if (!error && flags & ~(word)(SOCK_CLOEXEC | SOCK_NONBLOCK))
        error = -EINVAL;
    if (!error && (file->kind != SOCKET || !socket_listens(file)))
        error = -EINVAL;
    if (error)
        return error;
    struct socket *socket = socket_of(file);
    if (!socket->count)
        return file->flags & O_NONBLOCK ? -EAGAIN : wait_for(WAITS_FILES, NEVER);
    struct file *new = socket->waiting[socket->first];
    if (name && (error = socket_put_name(&pair_names(new)->remote, name, size)))
        return error;
    long accepted = descriptor_new(new, 0, !!(flags & SOCK_CLOEXEC));
    if (accepted < 0)
        return accepted;
    new->flags = O_RDWR | (flags & SOCK_NONBLOCK ? O_NONBLOCK : 0);
    socket->first = (socket->first + 1) % WAITING_MOST;
    socket->count--;
    wake_files();
    return accepted;
}
