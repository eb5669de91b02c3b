/* Calls on sockets of any kind. */
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include "linux.h"

long socket_find(word number, struct file **file)
{
    *file = descriptor_file(number);
    return !*file ? -EBADF : (*file)->kind == PAIR || (*file)->kind == SOCKET ? 0 : -ENOTSOCK;
}

/* One that is connected. */
static long find(word number, struct file **file)
{
    long error = socket_find(number, file);
    return error ? error : (*file)->kind == PAIR ? 0 : -ENOTCONN;
}

long socket_put_name(const struct socket_name *from, word name, word size)
{
    if (memory_reach(size, sizeof(int), 1))
        return -EFAULT;
    int room = *(int *)size;
    if (room < 0)
        return -EINVAL;
    word part = (word)room < from->size ? (word)room : from->size;
    if (part && memory_reach(name, part, 1))
        return -EFAULT;
    memcpy((void *)name, from, part);
    *(int *)size = (int)from->size;
    return 0;
}

long call_socket_name(word number, word name, word size, int remote)
{
    struct file *file;
    long error = remote ? find(number, &file) : socket_find(number, &file);
    if (error)
        return error;
    struct socket_name local;
    if (file->kind == PAIR) {
        local = remote ? pair_names(file)->remote : pair_names(file)->local;
    } else {
        local = *socket_name(file);
        if (!local.size)
            local.size = local.family == AF_INET ? 16 : sizeof local.family;
    }
    return socket_put_name(&local, name, size);
}

static void set_flags(struct file *file, word flags)
{
    file->flags |= (flags & MSG_DONTWAIT ? O_NONBLOCK : 0) | (flags & MSG_PEEK ? PEEKS : 0) |
                   (flags & MSG_WAITALL ? WANTS_ALL : 0);
}

/* The call with the flags of this time only. */
static long with_flags(struct file *file, word flags, long (*move)(struct file *, word, word, word *),
                       word buffer, word size)
{
    int was = file->flags;
    set_flags(file, flags);
    long done = move(file, buffer, size, NULL);
    file->flags = was;
    return done;
}

static long send_quietly(struct file *file, word buffer, word size, word *offset)
{
    word pending = current->pending;
    long done = file_write(file, buffer, size, offset);
    current->pending = pending; /* no SIGPIPE */
    return done;
}

long socket_write_early(const struct file *file, int quietly)
{
    if (socket_name(file)->family != AF_INET)
        return -ENOTCONN;
    if (!quietly)
        signal_raise(current, (struct pending){SIGPIPE, SI_KERNEL, 0, 0});
    return -EPIPE;
}

long call_sendto(word number, word buffer, word size, word flags)
{
    struct file *file;
    long error = find(number, &file);
    if (error == -ENOTCONN)
        return socket_write_early(file, !!(flags & MSG_NOSIGNAL));
    return error ? error
                 : with_flags(file, flags, flags & MSG_NOSIGNAL ? send_quietly : file_write, buffer, size);
}

long call_recvfrom(word number, word buffer, word size, word flags, word name, word name_size)
{
    struct file *file;
    long error = find(number, &file);
    if (!error && flags & MSG_OOB)
        error = -EOPNOTSUPP;
    if (error)
        return error;
    if (name && name_size) {
        if (memory_reach(name_size, sizeof(int), 1))
            return -EFAULT;
        *(int *)name_size = 0;
    }
    return with_flags(file, flags, file_read, buffer, size);
}

/* Nothing depends on options, but that there are some. */
long call_setsockopt(word number, word level, word value, word size)
{
    struct file *file;
    long error = socket_find(number, &file);
    if (error)
        return error;
    if (level != SOL_SOCKET && level != IPPROTO_TCP && level != IPPROTO_IP)
        return -ENOPROTOOPT;
    return (int)size < (int)sizeof(int) ? -EINVAL : memory_reach(value, (unsigned)size, 0);
}

static int option_of(const struct file *file, word option)
{
    int family = file->kind == PAIR ? pair_names(file)->local.family : socket_name(file)->family;
    switch (option) {
    case SO_TYPE:
        return SOCK_STREAM;
    case SO_DOMAIN:
        return family;
    case SO_PROTOCOL:
        return family == AF_INET ? IPPROTO_TCP : 0;
    case SO_ACCEPTCONN:
        return file->kind == SOCKET && socket_listens(file);
    case SO_SNDBUF:
    case SO_RCVBUF:
        return 16 * PAGE;
    default:
        return 0;
    }
}

long call_getsockopt(word number, word level, word option, word value, word size)
{
    struct file *file;
    long error = socket_find(number, &file);
    if (error)
        return error;
    if (level != SOL_SOCKET && level != IPPROTO_TCP)
        return -ENOPROTOOPT;
    if (memory_reach(size, sizeof(int), 1) || *(int *)size < (int)sizeof(int) ||
        memory_reach(value, sizeof(int), 1))
        return -EFAULT;
    *(int *)size = sizeof(int);
    *(int *)value = level == SOL_SOCKET ? option_of(file, option) : 0;
    if (level == SOL_SOCKET && option == SO_ERROR && file->kind == SOCKET)
        *(int *)value = (int)-socket_take_error(file);
    return 0;
}

long call_shutdown(word number, word how)
{
    struct file *file;
    long error = find(number, &file);
    if (error)
        return error;
    return how > SHUT_RDWR ? -EINVAL : pair_shut(file, how != SHUT_WR, how != SHUT_RD);
}

/* Moves what a message says where by readv or writev. */
static long pass(word number, word message, word flags, int receives, long (*vector)(word, word, word))
{
    struct file *file;
    long error = find(number, &file);
    if (error)
        return error;
    if (memory_reach(message, sizeof(struct msghdr), receives))
        return -EFAULT;
    const struct msghdr *header = (const struct msghdr *)message;
    if ((header->msg_controllen && !receives) || flags & MSG_OOB ||
        (flags & MSG_PEEK && header->msg_iovlen > 1))
        return -EOPNOTSUPP;
    int was = file->flags;
    set_flags(file, flags);
    long done = vector(number, (word)header->msg_iov, (word)header->msg_iovlen);
    file->flags = was;
    return done;
}

long call_sendmsg(word number, word message, word flags)
{
    return pass(number, message, flags, 0, call_writev);
}

long call_recvmsg(word number, word message, word flags)
{
    long done = pass(number, message, flags, 1, call_readv);
    if (done >= 0) {
        struct msghdr *header = (struct msghdr *)message;
        header->msg_namelen = 0;
        header->msg_controllen = 0;
        header->msg_flags = 0;
    }
    return done;
}
