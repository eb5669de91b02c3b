/* Calls on pairs of sockets.  There are no others: a program inside an enclave reaches no network. */
#include <fcntl.h>
#include <sys/socket.h>
#include "linux.h"

static long find(word number, struct file **file)
{
    *file = descriptor_file(number);
    return !*file ? -EBADF : (*file)->kind == PAIR ? 0 : -ENOTSOCK;
}

long call_refused_connection(word number)
{
    struct file *file;
    long error = find(number, &file);
    return error ? error : -EISCONN;
}

long call_socket_name(word number, word name, word size)
{
    struct file *file;
    long error = find(number, &file);
    if (error)
        return error;
    if (memory_reach(size, sizeof(int), 1))
        return -EFAULT;
    int room = *(int *)size;
    if (room < 0)
        return -EINVAL;
    if (room >= 2) {
        if (memory_reach(name, 2, 1))
            return -EFAULT;
        *(unsigned short *)name = AF_UNIX;
    }
    *(int *)size = 2;
    return 0;
}

/* The call with the flags of this time only. */
static long with_flags(struct file *file, word flags, long (*move)(struct file *, word, word, word *),
                       word buffer, word size)
{
    int was = file->flags;
    if (flags & MSG_DONTWAIT)
        file->flags |= O_NONBLOCK;
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

long call_sendto(word number, word buffer, word size, word flags)
{
    struct file *file;
    long error = find(number, &file);
    return error ? error
                 : with_flags(file, flags, flags & MSG_NOSIGNAL ? send_quietly : file_write, buffer, size);
}

long call_recvfrom(word number, word buffer, word size, word flags, word name, word name_size)
{
    struct file *file;
    long error = find(number, &file);
    if (!error && flags & (MSG_PEEK | MSG_OOB))
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

long call_setsockopt(word number)
{
    struct file *file;
    return find(number, &file);
}

long call_getsockopt(word number, word level, word option, word value, word size)
{
    struct file *file;
    long error = find(number, &file);
    if (error)
        return error;
    if (level != SOL_SOCKET)
        return -ENOPROTOOPT;
    if (memory_reach(size, sizeof(int), 1) || *(int *)size < (int)sizeof(int) ||
        memory_reach(value, sizeof(int), 1))
        return -EFAULT;
    *(int *)size = sizeof(int);
    *(int *)value = option == SO_TYPE ? SOCK_STREAM : option == SO_DOMAIN ? AF_UNIX : 0;
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
    if (header->msg_controllen && !receives)
        return -EOPNOTSUPP;
    int was = file->flags;
    if (flags & MSG_DONTWAIT)
        file->flags |= O_NONBLOCK;
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
