/* Threads: they take turns when one waits, and when the enclave's turn on its hart is over. */
#include <sched.h>
#include "linux.h"

#define MOST 1024
#define TIMER_INTERRUPT (1UL << 63 | 7)
#define STORE_PAGE_FAULT 15
#define STORE_ACCESS 7
#define FAULTS 1
#define TURNS 2

extern void linux_where(word out[5]);
extern _Noreturn void linux_go(const struct frame *frame);
extern void linux_save_floats(struct frame *frame), linux_load_floats(const struct frame *frame);
extern char linux_event_handler[];

struct thread *linux_current;
word files_changed;
static struct thread *first, *floats; /* floats: whose are in the registers */
static int count, last_id = PROCESS_ID;

/* ---- the list ---- */

struct thread *threads_first(void)
{
    return first;
}

int threads_count(void)
{
    return count;
}

struct thread *thread_of(int id)
{
    struct thread *thread = first;
    while (thread && thread->id != id)
        thread = thread->next;
    return thread;
}

void threads_set_events(void)
{
    static word asked;
    word events = FAULTS | (count > 1 || timers_armed() || console_is_served() ? TURNS : 0);
    if (events != asked)
        monitor_events((word)linux_event_handler, asked = events);
}

int threads_begin(word pc, word stack)
{
    struct thread *thread = heap_new(sizeof *thread);
    if (!thread)
        return 0;
    thread->id = PROCESS_ID;
    thread->frame.pc = pc;
    X(thread, 2) = stack;
    memcpy(thread->name, "program", 8);
    linux_current = first = floats = thread;
    count = 1;
    console_begin();
    threads_set_events();
    linux_go(&thread->frame);
}

/* ---- waiting ---- */

long wait_for(enum wait wait, word deadline)
{
    if (current->interrupted)
        return -EINTR;
    current->wait = wait;
    current->deadline = deadline;
    current->woken = 0;
    return WAITS;
}

word wait_until(word ns)
{
    word end;
    if (current->again)
        return current->deadline;
    return __builtin_add_overflow(ticks_ns(), ns, &end) ? NEVER : end;
}

int wait_is_over(void)
{
    return current->again && current->deadline != NEVER && ticks_ns() >= current->deadline;
}

void wake(struct thread *thread)
{
    thread->woken = 1;
}

void wake_files(void)
{
    files_changed++;
    for (struct thread *thread = first; thread; thread = thread->next)
        if (thread->wait == WAITS_FILES)
            wake(thread);
}

static int is_ready(struct thread *thread)
{
    if (thread->wait == RUNS || thread->woken || signal_is_due(thread))
        return 1;
    return thread->deadline != NEVER && ticks_ns() >= thread->deadline;
}

/* ---- switching ---- */

void where_is_current(void)
{
    word at[5];
    linux_where(at);
    current->frame.pc = at[0];
    X(current, A6) = at[1];
    X(current, A7) = at[2];
}

static struct thread *choose(struct thread *from)
{
    struct thread *thread = from;
    do {
        if (is_ready(thread))
            return thread;
        thread = thread->next ? thread->next : first;
    } while (thread != from);
    return NULL;
}

/* The call of the current thread has this result; with a restart, it is made again behind the signal's handler. */
static void finish(long result)
{
    int restarts = result == -EINTR && current->interrupted && signal_restarts(current);
    current->wait = RUNS;
    current->again = current->interrupted = current->woken = 0;
    if (result == CONTINUES || restarts)
        return;
    X(current, A0) = (word)result;
    current->frame.pc += 4;
}

/* What a thread waited for has come, or a signal: its call is made again.  0 if it goes on waiting. */
static int call_again(void)
{
    int over = current->deadline != NEVER && ticks_ns() >= current->deadline;
    current->interrupted = !current->woken && !over && signal_is_due(current);
    current->again = 1;
    long result = linux_dispatch(current);
    if (result != WAITS)
        finish(result);
    return result != WAITS;
}

/* When somebody goes on by himself. */
static word next_deadline(void)
{
    word next = timers_next();
    for (const struct thread *thread = first; thread; thread = thread->next)
        next = thread->deadline < next ? thread->deadline : next;
    return next;
}

static _Noreturn void go_on_with(struct thread *from)
{
    for (;;) {
        if (timers_armed())
            timers_expire();
        struct thread *next = choose(from);
        if (!next) {
            console_idle(next_deadline());
            continue;
        }
        linux_current = next;
        from = next->next ? next->next : first;
        if (next->wait != RUNS && !call_again())
            continue;
        signal_deliver(current);
        if (floats != current) {
            if (floats)
                linux_save_floats(&floats->frame);
            linux_load_floats(&current->frame);
            floats = current;
        }
        linux_go(&current->frame);
    }
}

static struct thread *behind(struct thread *thread)
{
    return thread->next ? thread->next : first;
}

/* From entry.S, for a system call.  Comes back if there is no more to it than its result. */
void linux_system_call(struct thread *thread)
{
    thread->again = thread->interrupted = 0;
    thread->moved = thread->done = 0;
    long result = linux_dispatch(thread);
    if (result != WAITS && result != CONTINUES && !timers_armed() && !signal_is_due(thread)) {
        X(thread, A0) = (word)result;
        return;
    }
    if (result != CONTINUES)
        where_is_current();
    if (result != WAITS)
        finish(result);
    go_on_with(result == WAITS ? behind(thread) : thread);
}

/* From entry.S, for a fault of the program, or the end of its turn. */
_Noreturn void linux_event(struct thread *thread)
{
    word at[5];
    linux_where(at);
    thread->frame.pc = at[0];
    X(thread, A6) = at[1];
    X(thread, A7) = at[2];
    word cause = at[3], address = at[4];
    if (cause == TIMER_INTERRUPT) {
        console_look();
        go_on_with(behind(thread));
    }
    if (memory_fault(address, cause == STORE_PAGE_FAULT || cause == STORE_ACCESS))
        linux_go(&thread->frame);
    signal_fault(thread, cause, address);
    go_on_with(thread);
}

/* What is in the registers has to be in the frame, or the other way round: for frames of signals. */
void floats_to_frame(struct thread *thread)
{
    if (floats == thread)
        linux_save_floats(&thread->frame);
}

void floats_from_frame(struct thread *thread)
{
    if (floats == thread)
        floats = NULL;
}

/* ---- calls ---- */

#define THREAD (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)

static long write_id(word address, int id)
{
    if (memory_reach(address, sizeof id, 1))
        return -EFAULT;
    *(int *)address = id;
    return 0;
}

long call_clone(word flags, word stack, word parent_id, word tls, word child_id)
{
    if ((flags & THREAD) != THREAD) {
        complain_once("a program inside an enclave cannot make processes: fork, vfork and exec fail");
        return -ENOSYS;
    }
    if (count >= MOST)
        return -EAGAIN;
    if ((flags & CLONE_PARENT_SETTID && memory_reach(parent_id, sizeof(int), 1)) ||
        (flags & (CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID) && memory_reach(child_id, sizeof(int), 1)))
        return -EFAULT;
    struct thread *thread = heap_new(sizeof *thread);
    if (!thread)
        return -EAGAIN;
    where_is_current();
    floats_to_frame(current);
    thread->frame = current->frame;
    thread->frame.pc += 4;
    X(thread, A0) = 0;
    if (stack)
        X(thread, 2) = stack;
    if (flags & CLONE_SETTLS)
        X(thread, 4) = tls;
    thread->mask = current->mask;
    memcpy(thread->name, current->name, sizeof thread->name);
    thread->id = ++last_id;
    thread->clear_id = flags & CLONE_CHILD_CLEARTID ? child_id : 0;
    if (flags & CLONE_PARENT_SETTID)
        write_id(parent_id, thread->id);
    if (flags & CLONE_CHILD_SETTID)
        write_id(child_id, thread->id);
    thread->next = current->next;
    current->next = thread;
    count++;
    threads_set_events();
    return thread->id;
}

long call_exit(word value)
{
    struct thread *gone = current;
    if (count == 1)
        call_exit_group(value);
    if (gone->clear_id && !write_id(gone->clear_id, 0))
        futex_wake(gone->clear_id, 1, ~0U);
    struct thread **link = &first;
    while (*link != gone)
        link = &(*link)->next;
    struct thread *next = gone->next;
    *link = next;
    if (floats == gone)
        floats = NULL;
    heap_free(gone, sizeof *gone);
    count--;
    linux_current = next ? next : first;
    threads_set_events();
    go_on_with(current);
}

long call_set_tid_address(word address)
{
    current->clear_id = address;
    return current->id;
}
