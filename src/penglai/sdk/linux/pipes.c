/* Pipes, and pairs of sockets, which are two pipes. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include "linux.h"

#define CAPACITY (16 * PAGE)
#define WHOLE PAGE /* a write of so much is never cut */

struct pipe {
    char *data;
    size_t first, held, most;
    int readers, writers; /* whether there is one */
    int ends;             /* how many are open, shut down or not */
};

/* What a pair's end reads from, and writes to. */
struct ends {
    struct pipe *in, *out;
    struct pair_names names;
};

static struct pipe *new_pipe(void)
{
    struct pipe *pipe = heap_new(sizeof *pipe);
    char *data = (char *)memory_take(CAPACITY);
    if (pipe && data) {
        *pipe = (struct pipe){.data = data, .most = CAPACITY, .readers = 1, .writers = 1, .ends = 2};
        return pipe;
    }
    if (pipe)
        heap_free(pipe, sizeof *pipe);
    if (data)
        memory_give((word)data, CAPACITY);
    return NULL;
}

static void drop_pipe(struct pipe *pipe)
{
    memory_give((word)pipe->data, CAPACITY);
    heap_free(pipe, sizeof *pipe);
}

static void leave(struct pipe *pipe, int reader)
{
    *(reader ? &pipe->readers : &pipe->writers) = 0;
    wake_files();
    if (!--pipe->ends)
        drop_pipe(pipe);
}

static struct pipe *source(const struct file *file)
{
    return file->kind == PAIR ? ((struct ends *)file->more)->in : file->kind == PIPE_READ ? file->more : NULL;
}

static struct pipe *sink(const struct file *file)
{
    return file->kind == PAIR         ? ((struct ends *)file->more)->out
           : file->kind == PIPE_WRITE ? file->more
                                      : NULL;
}

void pipe_release(struct file *file)
{
    if (source(file))
        leave(source(file), 1);
    if (sink(file))
        leave(sink(file), 0);
    if (file->kind == PAIR)
        heap_free(file->more, sizeof(struct ends));
}

long pair_shut(struct file *file, int reads, int writes)
{
    struct ends *ends = file->more;
    if (reads)
        ends->in->readers = 0;
    if (writes)
        ends->out->writers = 0;
    wake_files();
    return 0;
}

word pipe_held(const struct file *file)
{
    return source(file)->held;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t room_of(const struct pipe *pipe)
{
    return pipe->most > pipe->held ? pipe->most - pipe->held : 0;
}

/* The first bytes that wait, not taken. */
static void look(const struct pipe *pipe, char *to, size_t size)
{
    size_t part = least(size, CAPACITY - pipe->first);
    memcpy(to, pipe->data + pipe->first, part);
    memcpy(to + part, pipe->data, size - part);
}

static void skip(struct pipe *pipe, size_t size)
{
    pipe->first = (pipe->first + size) % CAPACITY;
    pipe->held -= size;
    wake_files();
}

/* There has to be room. */
static void put(struct pipe *pipe, const char *from, size_t size)
{
    size_t end = (pipe->first + pipe->held) % CAPACITY, part = least(size, CAPACITY - end);
    memcpy(pipe->data + end, from, part);
    memcpy(pipe->data, from + part, size - part);
    pipe->held += size;
    wake_files();
}

/* Not all of it is moved yet: what a signal leaves of the call is what was done. */
static long wait_for_rest(const struct file *file, word done)
{
    if (file->flags & O_NONBLOCK)
        return done ? (long)done : -EAGAIN;
    current->done = done;
    long result = wait_for(WAITS_FILES, NEVER);
    return result != WAITS && done ? (long)done : result;
}

long pipe_read(struct file *file, word buffer, word size)
{
    struct pipe *pipe = source(file);
    word done = current->done;
    current->done = 0;
    if (!size)
        return 0;
    if (!pipe->held)
        return pipe->writers && pipe->readers ? wait_for_rest(file, done) : (long)done;
    size_t part = least(size - done, pipe->held);
    if (memory_reach(buffer + done, part, 1))
        return done ? (long)done : -EFAULT;
    look(pipe, (char *)buffer + done, part);
    if (file->flags & PEEKS)
        return (long)part;
    skip(pipe, part);
    done += part;
    int more = done < size && file->flags & WANTS_ALL && pipe->writers && pipe->readers;
    return more ? wait_for_rest(file, done) : (long)done;
}

/* Of a write that waits, the pipe gets as much as it holds; the rest when somebody has read. */
long pipe_write(struct file *file, word buffer, word size)
{
    struct pipe *pipe = sink(file);
    word done = current->done;
    current->done = 0;
    if (!pipe->readers || !pipe->writers) {
        signal_raise(current, (struct pending){SIGPIPE, SI_KERNEL, 0, 0});
        return done ? (long)done : -EPIPE;
    }
    size_t room = room_of(pipe), part = least(size - done, room);
    if (size && (!room || (size <= WHOLE && room < size)))
        return wait_for_rest(file, done);
    if (memory_reach(buffer + done, part, 0))
        return done ? (long)done : -EFAULT;
    put(pipe, (const char *)buffer + done, part);
    done += part;
    return done < size ? wait_for_rest(file, done) : (long)done;
}

long pipe_send(struct file *file, const char *from, word size)
{
    struct pipe *pipe = sink(file);
    if (!pipe->readers || !pipe->writers)
        return pipe_write(file, 0, size);
    size_t part = least(size, room_of(pipe));
    if (size && !part)
        return wait_for_rest(file, 0);
    put(pipe, from, part);
    return (long)part;
}

long pipe_size(const struct file *file, word size)
{
    struct pipe *pipe = file->more;
    size_t most = PAGE;
    if (file->kind != PIPE_READ && file->kind != PIPE_WRITE)
        return -EBADF;
    if (!size)
        return (long)pipe->most;
    if (size > CAPACITY)
        return -EPERM;
    while (most < size)
        most *= 2;
    if (most < pipe->held)
        return -EBUSY;
    pipe->most = most;
    wake_files();
    return (long)most;
}

size_t pair_room(const struct file *file)
{
    const struct pipe *out = sink(file);
    return out->readers && out->writers ? room_of(out) : 0;
}

void pair_put(const struct file *file, const char *from, size_t size)
{
    put(sink(file), from, size);
}

size_t pair_look(const struct file *file, char *to, size_t most)
{
    const struct pipe *in = source(file);
    size_t size = in->readers ? least(in->held, most) : 0;
    look(in, to, size);
    return size;
}

void pair_skip(const struct file *file, size_t size)
{
    skip(source(file), size);
}

int pair_is_left(const struct file *file, int reads)
{
    return reads ? !source(file)->writers : !sink(file)->readers;
}

unsigned pipe_ready(const struct file *file)
{
    struct pipe *in = source(file), *out = sink(file);
    unsigned ready = 0;
    if (in)
        ready |= (in->held ? POLLIN | POLLRDNORM : 0) | (in->writers          ? 0
                                                         : file->kind == PAIR ? POLLIN | POLLHUP
                                                                              : POLLHUP);
    if (out)
        ready |= out->readers ? (room_of(out) >= WHOLE ? POLLOUT | POLLWRNORM : 0) : POLLERR | POLLOUT;
    return ready;
}

/* ---- calls ---- */

static long give_both(struct file *one, struct file *other, word out, int closes_on_exec)
{
    if (!one || !other || memory_reach(out, 2 * sizeof(int), 1)) {
        long error = one && other ? -EFAULT : -ENOMEM;
        if (one)
            file_release(one);
        if (other)
            file_release(other);
        return error;
    }
    long first = descriptor_new(one, 0, closes_on_exec), second = descriptor_new(other, 0, closes_on_exec);
    if (second < 0) {
        file_release(other);
        if (first < 0)
            file_release(one);
        else
            call_close((word)first);
        return -EMFILE;
    }
    ((int *)out)[0] = (int)first;
    ((int *)out)[1] = (int)second;
    return 0;
}

long call_pipe2(word out, word flags)
{
    if (flags & ~(word)(O_CLOEXEC | O_NONBLOCK | O_DIRECT))
        return -EINVAL;
    struct pipe *pipe = new_pipe();
    if (!pipe)
        return -ENFILE;
    int kept = (int)flags & O_NONBLOCK;
    struct file *reader = file_new(PIPE_READ, O_RDONLY | kept),
                *writer = file_new(PIPE_WRITE, O_WRONLY | kept);
    if (reader)
        reader->more = pipe;
    if (writer)
        writer->more = pipe;
    return give_both(reader, writer, out, !!(flags & O_CLOEXEC));
}

static struct file *new_end(struct pipe *in, struct pipe *out, int flags)
{
    static const struct socket_name nameless = {.family = AF_UNIX, .size = sizeof nameless.family};
    struct file *file = file_new(PAIR, O_RDWR | flags);
    struct ends *ends = heap_new(sizeof *ends);
    if (!file || !ends) {
        if (file)
            heap_free(file, sizeof *file);
        if (ends)
            heap_free(ends, sizeof *ends);
        return NULL;
    }
    *ends = (struct ends){in, out, {nameless, nameless}};
    file->more = ends;
    return file;
}

static void drop_end(struct file *file)
{
    heap_free(file->more, sizeof(struct ends));
    heap_free(file, sizeof *file);
}

int pair_new(struct file *ends[2], int flags)
{
    struct pipe *one = new_pipe(), *other = one ? new_pipe() : NULL;
    ends[0] = other ? new_end(one, other, flags) : NULL;
    ends[1] = ends[0] ? new_end(other, one, flags) : NULL;
    if (ends[1])
        return 0;
    if (ends[0])
        drop_end(ends[0]);
    if (other)
        drop_pipe(other);
    if (one)
        drop_pipe(one);
    return -ENFILE;
}

struct pair_names *pair_names(const struct file *file)
{
    return &((struct ends *)file->more)->names;
}

long call_socketpair(word domain, word type, word protocol, word out)
{
    word kind = type & ~(word)(SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct file *ends[2];
    if (domain != AF_UNIX)
        return domain == AF_INET ? -EOPNOTSUPP : -EAFNOSUPPORT;
    if (kind != SOCK_STREAM || protocol)
        return -EPROTONOSUPPORT;
    long error = pair_new(ends, type & SOCK_NONBLOCK ? O_NONBLOCK : 0);
    return error ? error : give_both(ends[0], ends[1], out, !!(type & SOCK_CLOEXEC));
}
