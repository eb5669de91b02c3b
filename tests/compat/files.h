/* Requests of the file server, the block server and protected storage, as clients of Penglai-TVM's make them. */
#ifndef FILES_H
#define FILES_H

#include "raw.h"

static u64 server, region, region_size;

static inline void use(const char *name, u64 size)
{
    server = acquire(name);
    region_size = size;
    region = map(0, size / PAGE);
}

static inline void put32(u64 offset, u32 value)
{
    *(volatile u32 *)(region + offset) = value;
}

static inline void put64(u64 offset, u64 value)
{
    memcpy((void *)(region + offset), &value, 8);
}

static inline u32 get32(u64 offset)
{
    return *(volatile u32 *)(region + offset);
}

static inline u64 get64(u64 offset)
{
    u64 value;
    memcpy(&value, (void *)(region + offset), 8);
    return value;
}

static inline void put_text(u64 offset, const char *text)
{
    do
        *(volatile char *)(region + offset++) = *text;
    while (*text++);
}

/* The region is where the answer says. */
static inline u64 ask(u64 operation)
{
    if (call(server, operation, region, region_size))
        return MINUS_ONE;
    region = page.arg.req_vaddr;
    return page.arg.resp_val;
}

static inline u64 file_open(const char *path, u32 flags)
{
    put_text(0, path);
    put32(128, flags);
    return ask(0);
}

static inline u64 file_write(u64 fd, const char *text, u32 size)
{
    put32(0, fd);
    put32(4, size);
    memcpy((void *)(region + 8), text, size);
    return ask(3);
}

static inline u64 file_read(u64 fd, u32 size)
{
    put32(0, fd);
    put32(4, size);
    return ask(2);
}

static inline u64 file_seek(u64 fd, u32 offset, u32 whence)
{
    put32(0, fd);
    put32(4, offset);
    put32(8, whence);
    return ask(5);
}

static inline u64 file_size(const char *path)
{
    put32(0, -1);
    put_text(4, path);
    return ask(4);
}

static inline u64 file_close(u64 fd)
{
    put32(0, fd);
    return ask(1);
}

static inline u64 path_call(u64 operation, const char *path)
{
    put_text(0, path);
    return ask(operation);
}

static inline u64 block(u32 flags, u32 number)
{
    put32(0, flags);
    put32(4, 0);
    put32(8, 1);
    put32(12, number);
    return ask(0x5a5a);
}

/* A request with these ins; an out of `room` bytes, or none.  The ins lie one behind the other. */
struct in {
    const void *data;
    u64 size;
};

static u64 out_offset;

static inline u64 psa(u64 type, const struct in *ins, u64 count, u64 outs, u64 room)
{
    u64 at = 40 + 16 * (count + outs);
    put64(8, 40);
    put64(16, count);
    put64(24, 40 + 16 * count);
    put64(32, outs);
    for (u64 i = 0; i < count; i++) {
        put64(40 + 16 * i, at);
        put64(48 + 16 * i, ins[i].size);
        memcpy((void *)(region + at), ins[i].data, ins[i].size);
        at += ins[i].size;
    }
    if (outs) {
        put64(40 + 16 * count, at);
        put64(48 + 16 * count, room);
    }
    out_offset = at;
    return (long)(int)ask(type);
}

static inline u64 psa_set(u64 uid, const char *data, u64 size, u32 flags)
{
    struct in ins[] = {{&uid, 8}, {data, size}, {&flags, 4}};
    return psa(0, ins, 3, 0, 0);
}

static inline u64 psa_get(u64 uid, u64 offset, u64 wanted)
{
    struct in ins[] = {{&uid, 8}, {&offset, 8}};
    return psa(1, ins, 2, 1, wanted);
}

static inline u64 psa_one(u64 type, u64 uid, u64 outs, u64 room)
{
    struct in ins[] = {{&uid, 8}};
    return psa(type, ins, 1, outs, room);
}

#endif
