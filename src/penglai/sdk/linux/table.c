/* From the number of a call to its function. */
#include "linux.h"

#define ARGUMENT(n) X(thread, A0 + (n))

long linux_dispatch(struct thread *thread)
{
    word a = ARGUMENT(0), b = ARGUMENT(1), c = ARGUMENT(2), d = ARGUMENT(3), e = ARGUMENT(4), f = ARGUMENT(5);
    switch (X(thread, A7)) {
#define CALL(number, name, call, how) \
    case number:                      \
        return call;
#include "calls.h"
    default:
        return -ENOSYS;
    }
}
