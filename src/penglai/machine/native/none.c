/* Stands for the native engine where there is none. */
#include <stdlib.h>
#include "../hart.h"

struct cache;

EXPORT const char *native_obstacle(void)
{
    return "there is none for this kind of processor";
}

EXPORT struct cache *native_cache(uint64_t limit)
{
    (void)limit;
    return NULL;
}

EXPORT void native_cache_close(struct cache *cache)
{
    (void)cache;
}

EXPORT void native_cache_counts(struct cache *cache, uint64_t out[4])
{
    (void)cache, (void)out;
}

EXPORT bool native_open(struct hart *h, int memory, struct cache *cache)
{
    (void)h, (void)memory, (void)cache;
    return false;
}

EXPORT void native_counts(const struct hart *h, uint64_t out[7])
{
    (void)h, (void)out;
}

EXPORT uint64_t native_emitted(struct cache *cache, uint64_t *out, uint64_t room)
{
    (void)cache, (void)out, (void)room;
    return 0;
}

EXPORT uint64_t native_entries(struct cache *cache, uint64_t *out, uint64_t room)
{
    (void)cache, (void)out, (void)room;
    return 0;
}

EXPORT int native_revoke(struct hart *h, uint64_t satp, uint64_t patient)
{
    (void)h, (void)satp, (void)patient;
    return 1;
}

EXPORT int native_end(struct hart *h, uint64_t satp, uint64_t patient)
{
    (void)h, (void)satp, (void)patient;
    return 1;
}

EXPORT int native_forget(struct hart *h, uint64_t start, uint64_t end, bool patient)
{
    (void)h, (void)start, (void)end, (void)patient;
    return 1;
}

int native_run(struct native *n, struct context *c)
{
    (void)n, (void)c;
    abort();
}

void native_want(struct native *n)
{
    (void)n;
}

void native_invalidate(struct native *n, uint64_t start, uint64_t end)
{
    (void)n, (void)start, (void)end;
}

void native_close(struct native *n)
{
    (void)n;
}
