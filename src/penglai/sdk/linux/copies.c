/* From file to file, without the program. */
#include <fcntl.h>
#include "linux.h"

static long copy(struct file *in, word *from, struct file *out, word *to, word size)
{
    char *content;
    if (in->kind != REGULAR)
        return -EINVAL;
    word at = from ? *from : in->offset;
    if (at >= in->node->size)
        return 0;
    size = in->node->size - at < size ? in->node->size - at : size;
    content = in->node->data + at;
    long done = size;
    if (out->kind == REGULAR) {
        word place = out->flags & O_APPEND ? out->node->size : to ? *to : out->offset;
        if (in->node == out->node)
            return -EINVAL;
        done = file_writes(out) ? tree_write(out->node, content, size, place) : -EBADF;
        if (done > 0)
            *(to ? to : &out->offset) = place + (word)done;
    } else if (out->kind == PIPE_WRITE || out->kind == PAIR) {
        done = pipe_send(out, content, size);
    } else if (out->kind == CONSOLE) {
        monitor_write(content, size);
    } else if (out->kind != NULL_DEVICE) {
        return -EINVAL;
    }
    if (done > 0)
        *(from ? from : &in->offset) = at + (word)done;
    return done;
}

long call_sendfile(word out, word in, word offset, word size)
{
    struct file *target = descriptor_file(out), *source = descriptor_file(in);
    if (!target || !source || !file_reads(source))
        return -EBADF;
    if (offset && memory_reach(offset, sizeof(word), 1))
        return -EFAULT;
    return copy(source, (word *)offset, target, NULL, size < MOST_BYTES ? size : MOST_BYTES);
}

long call_copy_range(word in, word in_offset, word out, word out_offset, word size, word flags)
{
    struct file *source = descriptor_file(in), *target = descriptor_file(out);
    if (!target || !source || !file_reads(source))
        return -EBADF;
    if (flags || target->kind != REGULAR)
        return -EINVAL;
    if ((in_offset && memory_reach(in_offset, sizeof(word), 1)) ||
        (out_offset && memory_reach(out_offset, sizeof(word), 1)))
        return -EFAULT;
    return copy(source, (word *)in_offset, target, (word *)out_offset, size < MOST_BYTES ? size : MOST_BYTES);
}
