/* What is open: reading and writing it. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "linux.h"

#define MOST_PIECES 1024
#define RANDOM_PIECE (1UL << 20)
#define USER_END (1UL << 38)

struct file *file_new(enum kind kind, int flags)
{
    struct file *file = heap_new(sizeof *file);
    if (file)
        *file = (struct file){.kind = kind, .flags = flags, .uses = 1};
    return file;
}

void file_release(struct file *file)
{
    if (--file->uses)
        return;
    if (file->lock)
        wake_files();
    if (file->kind == PIPE_READ || file->kind == PIPE_WRITE || file->kind == PAIR)
        pipe_release(file);
    if (file->kind == SOCKET)
        socket_release(file);
    if (file->kind == EVENT)
        heap_free(file->more, sizeof(word));
    if (file->kind == EPOLL)
        epoll_release(file);
    if (file->node) {
        file->node->uses--;
        if (file->node->hosts)
            mount_close(file->node);
        tree_drop(file->node);
    }
    heap_free(file, sizeof *file);
}

int file_reads(const struct file *file)
{
    return !(file->flags & O_PATH) && (file->flags & O_ACCMODE) != O_WRONLY;
}

int file_writes(const struct file *file)
{
    return !(file->flags & O_PATH) && (file->flags & O_ACCMODE) != O_RDONLY;
}

/* ---- reading ---- */

static long read_content(struct file *file, word buffer, word size, word *offset)
{
    const struct node *node = file->node;
    word at = offset ? *offset : file->offset;
    if (at >= node->size || !size)
        return 0;
    size = node->size - at < size ? node->size - at : size;
    if (memory_reach(buffer, size, 1))
        return -EFAULT;
    memmove((void *)buffer, node->data + at, size);
    *(offset ? offset : &file->offset) = at + size;
    return (long)size;
}

static long read_random(word buffer, word size)
{
    size = size < RANDOM_PIECE ? size : RANDOM_PIECE;
    if (memory_reach(buffer, size, 1))
        return -EFAULT;
    return monitor_random((void *)buffer, size) ? (long)size : -EIO;
}

static long read_zeros(word buffer, word size)
{
    size = size < RANDOM_PIECE ? size : RANDOM_PIECE;
    if (memory_reach(buffer, size, 1))
        return -EFAULT;
    memset((void *)buffer, 0, size);
    return (long)size;
}

long file_read(struct file *file, word buffer, word size, word *offset)
{
    if (!file_reads(file))
        return -EBADF;
    size = size < MOST_BYTES ? size : MOST_BYTES;
    switch (file->kind) {
    case REGULAR:
        return read_content(file, buffer, size, offset);
    case DIRECTORY:
        return -EISDIR;
    case ZERO_DEVICE:
    case FULL_DEVICE:
        return read_zeros(buffer, size);
    case RANDOM_DEVICE:
        return read_random(buffer, size);
    case PIPE_READ:
    case PAIR:
        return offset ? -ESPIPE : pipe_read(file, buffer, size);
    case EVENT:
        return offset ? -ESPIPE : event_read(file, buffer, size);
    case SOCKET:
        return offset ? -ESPIPE : -ENOTCONN;
    case CONSOLE:
        return offset ? -ESPIPE : console_read(file, buffer, size);
    case NULL_DEVICE:
        return 0;
    default:
        return -EINVAL;
    }
}

/* ---- writing ---- */

static long write_content(struct file *file, word buffer, word size, word *offset)
{
    word at = offset ? *offset : file->offset;
    if (file->flags & O_APPEND)
        at = file->node->size;
    if (memory_reach(buffer, size, 0))
        return -EFAULT;
    long done = tree_write(file->node, (const char *)buffer, size, at);
    if (done == -EFBIG && at < FILE_BYTES)
        done = tree_write(file->node, (const char *)buffer, FILE_BYTES - at, at);
    if (done > 0)
        *(offset ? offset : &file->offset) = at + (word)done;
    return done;
}

long file_write(struct file *file, word buffer, word size, word *offset)
{
    if (!file_writes(file))
        return -EBADF;
    size = size < MOST_BYTES ? size : MOST_BYTES;
    switch (file->kind) {
    case REGULAR:
        return write_content(file, buffer, size, offset);
    case CONSOLE:
        if (offset)
            return -ESPIPE;
        if (memory_reach(buffer, size, 0))
            return -EFAULT;
        monitor_write((const char *)buffer, size);
        return (long)size;
    case NULL_DEVICE:
    case ZERO_DEVICE:
    case RANDOM_DEVICE:
        return (long)size;
    case FULL_DEVICE:
        return -ENOSPC;
    case PIPE_WRITE:
    case PAIR:
        return offset ? -ESPIPE : pipe_write(file, buffer, size);
    case EVENT:
        return offset ? -ESPIPE : event_write(file, buffer, size);
    case SOCKET:
        return offset ? -ESPIPE : socket_write_early(file, 0);
    default:
        return -EINVAL;
    }
}

unsigned file_ready(struct file *file)
{
    switch (file->kind) {
    case PIPE_READ:
    case PIPE_WRITE:
    case PAIR:
        return pipe_ready(file);
    case SOCKET:
        return socket_ready(file);
    case EVENT:
        return event_ready(file);
    case EPOLL:
        return epoll_ready(file);
    case CONSOLE:
        return file_reads(file) ? console_ready() : POLLOUT | POLLWRNORM;
    default:
        return (file_reads(file) ? POLLIN | POLLRDNORM : 0) | (file_writes(file) ? POLLOUT | POLLWRNORM : 0);
    }
}

void file_describe(const struct file *file, struct stat *about)
{
    static const unsigned modes[] = {[CONSOLE] = S_IFIFO | 0600,
                                     [NULL_DEVICE] = S_IFCHR | 0666,
                                     [PIPE_READ] = S_IFIFO | 0600,
                                     [PIPE_WRITE] = S_IFIFO | 0600,
                                     [PAIR] = S_IFSOCK | 0777,
                                     [SOCKET] = S_IFSOCK | 0777,
                                     [EVENT] = 0600,
                                     [EPOLL] = 0600};
    int is_terminal = file->kind == CONSOLE && console_is_terminal(file);
    if (file->node)
        tree_describe(file->node, about);
    else
        *about = (struct stat){.st_dev = 2,
                               .st_ino = (ino_t)file->kind + 1,
                               .st_mode = is_terminal ? S_IFCHR | 0620 : modes[file->kind],
                               .st_nlink = 1,
                               .st_blksize = PAGE};
}

/* ---- calls ---- */

long call_read(word number, word buffer, word size)
{
    struct file *file = descriptor_file(number);
    return file ? file_read(file, buffer, size, NULL) : -EBADF;
}

long call_write(word number, word buffer, word size)
{
    struct file *file = descriptor_file(number);
    return file ? file_write(file, buffer, size, NULL) : -EBADF;
}

long call_pread(word number, word buffer, word size, word offset)
{
    struct file *file = descriptor_file(number);
    if ((long)offset < 0)
        return -EINVAL;
    return file ? file_read(file, buffer, size, &offset) : -EBADF;
}

long call_pwrite(word number, word buffer, word size, word offset)
{
    struct file *file = descriptor_file(number);
    if ((long)offset < 0)
        return -EINVAL;
    return file ? file_write(file, buffer, size, &offset) : -EBADF;
}

typedef long transfer(struct file *file, word buffer, word size, word *offset);

/* That none has a length below 0, or ends where a program has no memory. */
static long check_pieces(word pieces, word count)
{
    if (count > MOST_PIECES)
        return -EINVAL;
    if (memory_reach(pieces, count * sizeof(struct iovec), 0))
        return -EFAULT;
    for (word i = 0; i < count; i++)
        if ((long)((const struct iovec *)pieces)[i].iov_len < 0)
            return -EINVAL;
    for (word i = 0; i < count; i++) {
        struct iovec piece = ((const struct iovec *)pieces)[i];
        if ((word)piece.iov_base > USER_END || piece.iov_len > USER_END - (word)piece.iov_base)
            return -EFAULT;
    }
    return 0;
}

/* Until one piece is not done whole.  What was done counts, and an error only if nothing was. */
static long each_piece(transfer *move, word number, word pieces, word count, word *offset)
{
    struct file *file = descriptor_file(number);
    if (offset && (long)*offset < 0)
        return -EINVAL;
    if (!file || !(move == file_read ? file_reads(file) : file_writes(file)))
        return -EBADF;
    long error = check_pieces(pieces, count), total = 0;
    if (error)
        return error;
    for (word i = 0; i < count; i++) {
        struct iovec piece = ((const struct iovec *)pieces)[i];
        if (piece.iov_len > MOST_BYTES - (word)total)
            piece.iov_len = MOST_BYTES - (word)total;
        if (!piece.iov_len)
            continue;
        if ((word)total < current->moved) { /* before the call has waited */
            total += (long)piece.iov_len;
            continue;
        }
        if (total && (file->kind == PIPE_READ || file->kind == PAIR) && !(file_ready(file) & POLLIN) &&
            move == file_read)
            break; /* it would wait, and has something */
        long done = move(file, (word)piece.iov_base, piece.iov_len, offset);
        if (done == WAITS && (!total || move == file_write)) {
            current->moved = (word)total;
            return done;
        }
        if (done == WAITS)
            current->wait = RUNS;
        if (done < 0)
            return total ? total : done;
        total += done;
        if ((word)done < piece.iov_len)
            break;
    }
    return total;
}

long call_readv(word number, word pieces, word count)
{
    return each_piece(file_read, number, pieces, count, NULL);
}

long call_writev(word number, word pieces, word count)
{
    return each_piece(file_write, number, pieces, count, NULL);
}

long call_preadv(word number, word pieces, word count, word offset)
{
    return each_piece(file_read, number, pieces, count, &offset);
}

long call_pwritev(word number, word pieces, word count, word offset)
{
    return each_piece(file_write, number, pieces, count, &offset);
}

static long seek_data(const struct node *node, word offset, int data)
{
    if (offset >= node->size)
        return -ENXIO;
    return data ? (long)offset : (long)node->size;
}

long call_lseek(word number, word offset, word whence)
{
    struct file *file = descriptor_file(number);
    if (!file || file->flags & O_PATH)
        return -EBADF;
    if (file->kind != REGULAR && file->kind != DIRECTORY)
        return file->kind == NULL_DEVICE || file->kind == ZERO_DEVICE || file->kind == FULL_DEVICE ||
                       file->kind == RANDOM_DEVICE || file->kind == EVENT || file->kind == EPOLL
                   ? 0
                   : -ESPIPE;
    if (whence == SEEK_DATA || whence == SEEK_HOLE) {
        long found = seek_data(file->node, offset, whence == SEEK_DATA);
        if (found >= 0)
            file->offset = (word)found;
        return found;
    }
    if (whence > SEEK_END)
        return -EINVAL;
    word from = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? file->offset : file->node->size;
    if ((long)(from + offset) < 0)
        return -EINVAL;
    file->offset = from + offset;
    return (long)file->offset;
}

/* ---- ioctl ---- */

static word readable(const struct file *file)
{
    if (file->kind == REGULAR)
        return file->node->size > file->offset ? file->node->size - file->offset : 0;
    return file->kind == PIPE_READ || file->kind == PAIR ? pipe_held(file) : 0;
}

long call_ioctl(word number, word request, word argument)
{
    struct file *file = descriptor_file(number);
    if (!file)
        return -EBADF;
    if (request != FIONBIO && request != FIONREAD)
        return file->kind == CONSOLE ? console_ioctl(file, request, argument) : -ENOTTY;
    if (memory_reach(argument, sizeof(int), request == FIONREAD))
        return -EFAULT;
    if (request == FIONREAD)
        *(int *)argument = (int)readable(file);
    else
        file->flags = *(int *)argument ? file->flags | O_NONBLOCK : file->flags & ~O_NONBLOCK;
    return 0;
}
