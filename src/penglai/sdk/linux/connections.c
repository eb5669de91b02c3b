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
#define KINDS 11 /* of sockets, on Linux */
#define FIRST_PORT 32768
#define LAST_PORT 60999

struct socket {
    struct socket_name name; /* size 0: not bound */
    struct node *node;       /* that a path of AF_UNIX has made */
    struct file *waiting[WAITING_MOST];
    int listens, most, first, count;
    int outside; /* it is being connected by the host */
    long error;  /* why that has failed, until somebody asks */
    struct socket *next; /* of those that are bound */
};

static struct socket *bound;

/* Would a connection to this name reach that socket?  node: that of a path, else NULL. */
static int meets(const struct socket *socket, const struct socket_name *name, const struct node *node)
{
    if (socket->name.family != name->family)
        return 0;
    if (name->family == AF_UNIX)
        return node ? socket->node == node : !socket->node && name_is_same(&socket->name, name);
    unsigned own = name_address(&socket->name), other = name_address(name);
    return name_port(&socket->name) == name_port(name) && (!own || !other || own == other);
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
        name_set_port(&name, last);
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
    if (socket->outside)
        return 0;
    if (socket->error)
        return POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLERR | POLLHUP;
    return POLLOUT | POLLWRNORM | POLLHUP;
}

/* The host may let others connect to it. */
static int is_public(const struct socket *socket)
{
    return socket->name.family == AF_INET && !name_address(&socket->name);
}

/* It is bound no more, and nobody waits at it. */
static void dissolve(struct socket *socket)
{
    if (socket->listens && is_public(socket))
        network_unlisten(name_port(&socket->name));
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
    if (socket_of(file)->outside)
        network_forget(file);
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
    if (kind >= KINDS)
        return -EINVAL;
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
    name_path(name, path);
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
    unsigned address = name_address(name);
    if (address && address >> 24 != LOOPBACK)
        return -EADDRNOTAVAIL;
    if (name_port(name))
        return find_bound(name, NULL) ? -EADDRINUSE : 0;
    unsigned port = free_port(*name);
    name_set_port(name, port);
    return port ? 0 : -EADDRINUSE;
}

static long bind_to(struct socket *socket, struct socket_name *name)
{
    long error = 0;
    if (name->family == AF_INET)
        error = bind_port(name);
    else if (name_is_path(name))
        error = bind_path(socket, name);
    else if (name->size == sizeof name->family)
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
    error = name_read(address, size, socket->name.family, &name);
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
    if (socket->outside)
        return -EINVAL;
    if (!socket->name.size) {
        struct socket_name any = {.family = AF_INET, .size = INET_SIZE};
        error = socket->name.family == AF_INET ? bind_to(socket, &any) : -EINVAL;
        if (error)
            return error;
    }
    if (!socket->listens && is_public(socket))
        network_listen(name_port(&socket->name));
    int most = (int)backlog < 0 || (int)backlog > WAITING_MOST ? WAITING_MOST : (int)backlog;
    socket->most = most ? most : 1;
    socket->listens = 1;
    return 0;
}

/* Who listens where a name leads, or an error. */
static long find_listener(struct socket_name *name, struct socket **listener)
{
    struct node *node = NULL;
    if (name_is_path(name)) {
        struct place place;
        char path[sizeof name->rest + 1];
        name_path(name, path);
        long error = tree_walk(tree_current, path, 1, &place);
        if (error || !place.node)
            return error ? error : -ENOENT;
        node = place.node;
    }
    *listener = find_bound(name, node);
    return *listener && (*listener)->listens ? 0 : -ECONNREFUSED;
}

/* The socket becomes an end of a pair, with a name if it has none; the other end, or NULL. */
struct file *socket_join(struct file *file, unsigned address)
{
    struct file *ends[2];
    struct socket_name local = socket_of(file)->name;
    if (!local.size) {
        local.size = local.family == AF_INET ? INET_SIZE : sizeof local.family;
        if (local.family == AF_INET) {
            name_set_address(&local, address);
            name_set_port(&local, free_port(local));
        }
    }
    if (pair_new(ends, file->flags & O_NONBLOCK))
        return NULL;
    pair_names(ends[0])->local = local;
    dissolve(socket_of(file));
    file->kind = PAIR;
    file->more = ends[0]->more;
    heap_free(ends[0], sizeof *ends[0]);
    wake_files();
    return ends[1];
}

static void offer(struct socket *listener, struct file *end)
{
    listener->waiting[(listener->first + listener->count++) % WAITING_MOST] = end;
    wake_files();
}

static long connect_to(struct file *file, struct socket *listener, const struct socket_name *remote)
{
    struct file *other = socket_join(file, name_address(remote));
    if (!other)
        return -ENFILE;
    struct socket_name local = pair_names(file)->local;
    *pair_names(file) = (struct pair_names){local, *remote};
    *pair_names(other) = (struct pair_names){*remote, local};
    offer(listener, other);
    return 0;
}

/* ---- with the host's help ---- */

static struct socket *public_listener(unsigned port)
{
    struct socket *socket = bound;
    while (socket && !(socket->listens && is_public(socket) && name_port(&socket->name) == port))
        socket = socket->next;
    return socket;
}

int socket_has_room(unsigned port)
{
    const struct socket *listener = public_listener(port);
    return listener && listener->count < listener->most;
}

void socket_offer(unsigned port, struct file *end)
{
    offer(public_listener(port), end);
}

void socket_fail(struct file *file, long error)
{
    socket_of(file)->outside = 0;
    socket_of(file)->error = error;
    wake_files();
}

long socket_take_error(const struct file *file)
{
    long error = socket_of(file)->error;
    socket_of(file)->error = 0;
    return error;
}

static long connect_outside(struct file *file, const struct socket_name *name)
{
    long error = network_connect(file, name);
    if (error)
        return error;
    socket_of(file)->outside = 1;
    return file->flags & O_NONBLOCK ? -EINPROGRESS : wait_for(WAITS_FILES, NEVER);
}

static int is_outside(const struct socket_name *name)
{
    return name->family == AF_INET && name_address(name) && name_address(name) >> 24 != LOOPBACK;
}

/* What there is to say before a socket is connected; WAITS while that is under way. */
static long before_connecting(struct file *file)
{
    if (file->kind == PAIR)
        return -EISCONN;
    if (socket_listens(file))
        return -EISCONN;
    if (socket_of(file)->outside)
        return current->again ? wait_for(WAITS_FILES, NEVER) : -EALREADY;
    return socket_take_error(file);
}

long call_connect(word number, word address, word size)
{
    struct file *file;
    struct socket_name name;
    struct socket *listener;
    long error = socket_find(number, &file);
    if (!error && file->kind == PAIR && current->again)
        return 0; /* meanwhile */
    if (!error)
        error = before_connecting(file);
    if (!error)
        error = name_read(address, size, socket_name(file)->family, &name);
    if (!error && is_outside(&name))
        return connect_outside(file, &name);
    if (error)
        return error;
    int is_later = name.family == AF_INET && file->flags & O_NONBLOCK; /* as if by a network */
    error = find_listener(&name, &listener);
    if (error && is_later)
        socket_of(file)->error = error;
    if (error)
        return is_later ? -EINPROGRESS : error;
    if (name.family == AF_INET && !name_address(&name))
        name_set_address(&name, LOOPBACK << 24 | 1);
    if (listener->count >= listener->most)
        return file->flags & O_NONBLOCK ? -EAGAIN : wait_for(WAITS_FILES, NEVER);
    error = connect_to(file, listener, &name);
    return error || !is_later ? error : -EINPROGRESS;
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
