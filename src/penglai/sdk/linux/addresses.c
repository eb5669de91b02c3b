/* Names of sockets: paths and texts of AF_UNIX, addresses and ports of AF_INET. */
#include <netinet/in.h>
#include <sys/socket.h>
#include "linux.h"

#define PATH_AT 2 /* in a name of AF_UNIX */

unsigned name_port(const struct socket_name *name)
{
    const unsigned char *rest = (const unsigned char *)name->rest;
    return (unsigned)rest[0] << 8 | rest[1];
}

void name_set_port(struct socket_name *name, unsigned port)
{
    name->rest[0] = (char)(port >> 8);
    name->rest[1] = (char)port;
}

void name_set_address(struct socket_name *name, unsigned address)
{
    for (int i = 0; i < 4; i++)
        name->rest[2 + i] = (char)(address >> (24 - 8 * i));
}

unsigned name_address(const struct socket_name *name)
{
    const unsigned char *rest = (const unsigned char *)name->rest + 2;
    return (unsigned)rest[0] << 24 | (unsigned)rest[1] << 16 | (unsigned)rest[2] << 8 | rest[3];
}

int name_is_path(const struct socket_name *name)
{
    return name->family == AF_UNIX && name->size > PATH_AT && name->rest[0];
}

void name_path(const struct socket_name *name, char *out)
{
    size_t length = name->size - PATH_AT;
    memcpy(out, name->rest, length);
    out[length] = 0;
}

long name_read(word address, word size, unsigned family, struct socket_name *name)
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
    if (name_is_path(name)) {
        char path[sizeof name->rest + 1];
        name_path(name, path);
        size = PATH_AT + strlen(path) + 1;
        name->size = size < name->size ? (unsigned)size : name->size;
    }
    return 0;
}

int name_is_same(const struct socket_name *one, const struct socket_name *other)
{
    return one->size == other->size && !memcmp(one->rest, other->rest, one->size - PATH_AT);
}
