/*
 * The counters of a hart: cycles, instructions.  Unicorn gives a program the counter of the processor that it runs
 * on, for both: a clock of a quarter of a ns, by which it could measure the others who use that processor.  A hart's
 * programs get none of it.  To Unicorn these CSRs do not exist while a hart executes a program of its own, and
 * hart.c says what they are (execute_counter()).
 *
 * Unicorn has a table of CSRs and functions that change it.  It is that of the process: whoever else uses
 * Unicorn in it finds what was there before.
 */
#include <pthread.h>
#include <stddef.h>
#include "hart.h"

/* As in Unicorn. */
struct csr {
    int (*exists)(void *state, int number);
    int (*read)(void *state, int number, uint64_t *value);
    int (*write)(void *state, int number, uint64_t value);
    int (*change)(void *state, int number, uint64_t *old, uint64_t value, uint64_t mask);
};

void riscv_get_csr_ops_riscv64(int number, struct csr *out);
void riscv_set_csr_ops_riscv64(int number, struct csr *csr);

_Thread_local bool counters_hidden;

static struct csr counters[2];

static int exists(void *state, int number)
{
    return counters_hidden ? -1 : counters[number == CSR_INSTRET].exists(state, number);
}

static void replace_counters(void)
{
    static const int numbers[2] = {CSR_CYCLE, CSR_INSTRET};
    for (unsigned i = 0; i < 2; i++) {
        riscv_get_csr_ops_riscv64(numbers[i], &counters[i]);
        struct csr ours = counters[i];
        ours.exists = exists;
        riscv_set_csr_ops_riscv64(numbers[i], &ours);
    }
}

void hide_counters(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, replace_counters);
}
