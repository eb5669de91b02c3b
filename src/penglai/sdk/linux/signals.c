/* Signals: what they do, who blocks them, and the handlers of the program. */
#include <signal.h>
#include "linux.h"

#define SET_BYTES 8
#define FRAME_ALIGN 16

void floats_to_frame(struct thread *thread);
void floats_from_frame(struct thread *thread);
extern char linux_signal_return[];

struct action {
    word handler, flags, mask;
};

struct signal_stack {
    word start;
    int flags;
    word size;
};

/* As the kernel lays it out; handlers look into it. */
struct signal_frame {
    struct {
        int number, error, code, unused;
        word address, value;
        char rest[96];
    } info;
    struct {
        word flags, link;
        struct signal_stack stack;
        word mask;
        char unused[128];
        word registers[32], floats[32], fcsr;
        char rest[264];
    } context;
};

_Static_assert(sizeof(struct signal_frame) == 1088, "what the kernel's has");
_Static_assert(offsetof(struct signal_frame, context.registers) == 304, "where the kernel has it");

static struct action actions[SIGNALS + 1];
static struct pending shared[SIGNALS + 1];
static word shared_pending;

static const char *const names[] = {[SIGABRT] = "SIGABRT", [SIGBUS] = "SIGBUS",   [SIGFPE] = "SIGFPE",
                                    [SIGILL] = "SIGILL",   [SIGSEGV] = "SIGSEGV", [SIGTRAP] = "SIGTRAP"};

static int is_ignored(int number)
{
    word handler = actions[number].handler;
    if (handler == (word)SIG_IGN)
        return number != SIGKILL && number != SIGSTOP;
    return handler == (word)SIG_DFL && (number == SIGCHLD || number == SIGURG || number == SIGWINCH ||
                                        number == SIGCONT || (number >= SIGSTOP && number <= SIGTTOU));
}

static _Noreturn void end_by(int number)
{
    network_end();
    monitor_end(128 + (word)number);
}

void signal_raise(struct thread *thread, struct pending info)
{
    int number = info.number;
    if (is_ignored(number) && !(thread ? thread->mask : current->mask & BIT(number)))
        return;
    if (thread) {
        thread->pending |= BIT(number);
        thread->info[number] = info;
    } else {
        shared_pending |= BIT(number);
        shared[number] = info;
    }
}

int signal_is_due(const struct thread *thread)
{
    return ((thread->pending | shared_pending) & ~thread->mask) != 0;
}

static struct pending take(struct thread *thread, word among)
{
    word set = (thread->pending | shared_pending) & among;
    if (!set)
        return (struct pending){0};
    int number = __builtin_ctzl(set) + 1;
    if (thread->pending & BIT(number)) {
        thread->pending &= ~BIT(number);
        return thread->info[number];
    }
    shared_pending &= ~BIT(number);
    return shared[number];
}

int signal_restarts(const struct thread *thread)
{
    word set = (thread->pending | shared_pending) & ~thread->mask;
    int number = set ? __builtin_ctzl(set) + 1 : 0;
    switch (X(thread, A7)) {
    case 32: /* flock, read, write, readv, writev, futex, and what waits like these */
    case 63:
    case 64:
    case 65:
    case 66:
    case 98:
    case 202:
    case 203:
    case 242:
    case 207:
    case 260:
        return !number || is_ignored(number) || actions[number].flags & SA_RESTART;
    default:
        return 0;
    }
}

/* ---- handlers ---- */

static int is_on_stack(const struct thread *thread, word sp)
{
    return sp > thread->stack && sp - thread->stack <= thread->stack_size;
}

static void enter_handler(struct thread *thread, const struct pending *info)
{
    struct action action = actions[info->number];
    word sp = X(thread, 2);
    if (action.flags & SA_ONSTACK && thread->stack_size && !is_on_stack(thread, sp))
        sp = thread->stack + thread->stack_size;
    sp = (sp - sizeof(struct signal_frame)) & -(word)FRAME_ALIGN;
    if (memory_reach(sp, sizeof(struct signal_frame), 1))
        end_by(SIGSEGV);
    struct signal_frame *frame = memset((void *)sp, 0, sizeof *frame);
    frame->info.number = info->number;
    frame->info.code = info->code;
    frame->info.address = info->code > 0 ? info->address : PROCESS_ID;
    frame->info.value = info->value;
    frame->context.stack =
        (struct signal_stack){thread->stack, thread->stack_size ? 0 : SS_DISABLE, thread->stack_size};
    frame->context.mask = thread->restores_mask ? thread->old_mask : thread->mask;
    thread->restores_mask = 0;
    floats_to_frame(thread);
    memcpy(frame->context.registers, &thread->frame, sizeof frame->context.registers);
    memcpy(frame->context.floats, thread->frame.f, sizeof frame->context.floats);
    frame->context.fcsr = thread->frame.fcsr;
    thread->mask |= action.mask | (action.flags & SA_NODEFER ? 0 : BIT(info->number));
    thread->mask &= ~(BIT(SIGKILL) | BIT(SIGSTOP));
    if (action.flags & SA_RESETHAND)
        actions[info->number].handler = (word)SIG_DFL;
    thread->frame.pc = action.handler;
    X(thread, 1) = (word)linux_signal_return;
    X(thread, 2) = sp;
    X(thread, 10) = (word)info->number;
    X(thread, 11) = (word)&frame->info;
    X(thread, 12) = (word)&frame->context;
}

void signal_deliver(struct thread *thread)
{
    while (signal_is_due(thread)) {
        struct pending info = take(thread, ~thread->mask);
        if (is_ignored(info.number))
            continue;
        if (actions[info.number].handler == (word)SIG_DFL)
            end_by(info.number);
        enter_handler(thread, &info);
    }
    if (thread->restores_mask) {
        thread->mask = thread->old_mask;
        thread->restores_mask = 0;
    }
}

/* ---- faults ---- */

#define FETCH_MISALIGNED 0
#define FETCH_ACCESS 1
#define ILLEGAL 2
#define BREAKPOINT 3

static size_t put_hex(char *out, word value)
{
    size_t length = 0;
    int digits = 1;
    while (digits < 16 && value >> (4 * digits))
        digits++;
    out[length++] = '0';
    out[length++] = 'x';
    while (digits--)
        out[length++] = "0123456789abcdef"[value >> (4 * digits) & 15];
    return length;
}

static void tell(int number, word pc, word address)
{
    char text[128];
    const char *name = names[number];
    size_t used = strlen(name);
    memcpy(text, name, used);
    memcpy(text + used, " at pc ", 7);
    used += 7;
    used += put_hex(text + used, pc);
    memcpy(text + used, ", address ", 10);
    used += 10;
    used += put_hex(text + used, address);
    text[used] = 0;
    complain(text);
}

void signal_fault(struct thread *thread, word cause, word address)
{
    int number = cause == ILLEGAL                                        ? SIGILL
                 : cause == BREAKPOINT                                   ? SIGTRAP
                 : cause == FETCH_MISALIGNED || cause == 4 || cause == 6 ? SIGBUS
                                                                         : SIGSEGV;
    if (number == SIGILL || number == SIGTRAP)
        address = thread->frame.pc;
    if (actions[number].handler <= (word)SIG_IGN || thread->mask & BIT(number)) {
        tell(number, thread->frame.pc, address);
        end_by(number);
    }
    struct pending info = {number,
                           number == SIGILL    ? ILL_ILLOPC
                           : number == SIGTRAP ? TRAP_BRKPT
                                               : SEGV_MAPERR,
                           0, address};
    thread->pending |= BIT(number);
    thread->info[number] = info;
}

/* ---- calls ---- */

static int is_signal(word number)
{
    return number >= 1 && number <= SIGNALS;
}

long call_sigaction(word number, word new, word old, word size)
{
    if (size != SET_BYTES || !is_signal(number) || (new && (number == SIGKILL || number == SIGSTOP)))
        return -EINVAL;
    if ((new && memory_reach(new, sizeof(struct action), 0)) ||
        (old && memory_reach(old, sizeof(struct action), 1)))
        return -EFAULT;
    struct action wanted = new ? *(struct action *)new : (struct action){0};
    if (old)
        *(struct action *)old = actions[number];
    if (!new)
        return 0;
    actions[number] = wanted;
    if (is_ignored((int)number)) {
        shared_pending &= ~BIT(number);
        for (struct thread *thread = threads_first(); thread; thread = thread->next)
            thread->pending &= ~BIT(number);
    }
    return 0;
}

static long read_set(word address, word size, word *set)
{
    if (size != SET_BYTES)
        return -EINVAL;
    if (memory_reach(address, SET_BYTES, 0))
        return -EFAULT;
    *set = *(word *)address;
    return 0;
}

long call_sigprocmask(word how, word new, word old, word size)
{
    word set = 0;
    long error = size != SET_BYTES ? -EINVAL : new ? read_set(new, size, &set) : 0;
    if (error)
        return error;
    if (new && how > SIG_SETMASK)
        return -EINVAL;
    if (old && memory_reach(old, SET_BYTES, 1))
        return -EFAULT;
    word was = current->mask;
    if (new) {
        set &= ~(BIT(SIGKILL) | BIT(SIGSTOP));
        current->mask = how == SIG_BLOCK ? was | set : how == SIG_UNBLOCK ? was & ~set : set;
    }
    if (old)
        *(word *)old = was;
    return 0;
}

long call_sigpending(word set, word size)
{
    if (size > SET_BYTES)
        return -EINVAL;
    if (memory_reach(set, size, 1))
        return -EFAULT;
    word value = (current->pending | shared_pending) & current->mask;
    memcpy((void *)set, &value, size);
    return 0;
}

long signal_mask_for_call(word address, word size)
{
    word set;
    if (!address || current->again)
        return 0;
    long error = read_set(address, size, &set);
    if (error)
        return error;
    current->old_mask = current->mask;
    current->restores_mask = 1;
    current->mask = set & ~(BIT(SIGKILL) | BIT(SIGSTOP));
    return 0;
}

long call_sigsuspend(word set, word size)
{
    long error = set ? signal_mask_for_call(set, size) : -EFAULT;
    if (error)
        return error;
    return wait_for(WAITS_SIGNAL, NEVER);
}

long call_sigtimedwait(word set, word info, word timeout, word size)
{
    word wanted, end = NEVER;
    long error = read_set(set, size, &wanted);
    if (!error && timeout)
        error = time_read(timeout, 0, &end);
    if (error || (info && memory_reach(info, 128, 1)))
        return error ? error : -EFAULT;
    struct pending taken = take(current, wanted);
    if (taken.number) {
        int *out = (int *)info;
        if (info) {
            memset(out, 0, 128);
            out[0] = taken.number;
            out[2] = taken.code;
            out[4] = PROCESS_ID;
            *(word *)(info + 24) = taken.value;
        }
        return taken.number;
    }
    if (wait_is_over() || (timeout && !end))
        return -EAGAIN;
    return wait_for(WAITS_SIGNAL, timeout ? wait_until(end) : NEVER);
}

long call_sigaltstack(word new, word old)
{
    int on_it = is_on_stack(current, X(current, 2));
    struct signal_stack wanted = {0};
    if (new) {
        if (memory_reach(new, sizeof wanted, 0))
            return -EFAULT;
        wanted = *(struct signal_stack *)new;
    }
    if (old) {
        if (memory_reach(old, sizeof wanted, 1))
            return -EFAULT;
        int flags = !current->stack_size ? SS_DISABLE : on_it ? SS_ONSTACK : 0;
        memset((void *)old, 0, sizeof wanted);
        *(struct signal_stack *)old = (struct signal_stack){current->stack, flags, current->stack_size};
    }
    if (!new)
        return 0;
    if (on_it)
        return -EPERM;
    if (wanted.flags & ~(SS_DISABLE | SS_ONSTACK))
        return -EINVAL;
    if (!(wanted.flags & SS_DISABLE) && wanted.size < 2048)
        return -ENOMEM;
    current->stack = wanted.flags & SS_DISABLE ? 0 : wanted.start;
    current->stack_size = wanted.flags & SS_DISABLE ? 0 : wanted.size;
    return 0;
}

long call_sigreturn(void)
{
    word sp = X(current, 2);
    if (memory_reach(sp, sizeof(struct signal_frame), 0))
        end_by(SIGSEGV);
    const struct signal_frame *frame = (const struct signal_frame *)sp;
    memcpy(&current->frame, frame->context.registers, sizeof frame->context.registers);
    memcpy(current->frame.f, frame->context.floats, sizeof frame->context.floats);
    current->frame.fcsr = frame->context.fcsr;
    floats_from_frame(current);
    current->mask = frame->context.mask & ~(BIT(SIGKILL) | BIT(SIGSTOP));
    return CONTINUES;
}

static long send(struct thread *thread, word number, int code, word value)
{
    if (number > SIGNALS)
        return -EINVAL;
    if (number)
        signal_raise(thread, (struct pending){(int)number, code, value, 0});
    return 0;
}

long call_kill(word process, word number)
{
    long id = (int)process;
    if (id != PROCESS_ID && id != 0 && id != -PROCESS_ID && id != -1)
        return number > SIGNALS ? -EINVAL : -ESRCH;
    return send(NULL, number, SI_USER, 0);
}

long call_tkill(word id, word number)
{
    struct thread *thread = thread_of((int)id);
    return thread ? send(thread, number, SI_TKILL, 0) : (int)id <= 0 ? -EINVAL : -ESRCH;
}

long call_tgkill(word process, word id, word number)
{
    return (int)process == PROCESS_ID ? call_tkill(id, number) : (int)process <= 0 ? -EINVAL : -ESRCH;
}

long call_sigqueueinfo(word process, word number, word info)
{
    if (memory_reach(info, 128, 0))
        return -EFAULT;
    if ((int)process != PROCESS_ID)
        return -ESRCH;
    return send(NULL, number, ((int *)info)[2], *(word *)(info + 24));
}
