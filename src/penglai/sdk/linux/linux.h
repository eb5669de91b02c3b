/*
 * What the parts of the Linux personality share.
 *
 * One thread of the program runs at a time; while the personality runs none does, so nothing here is locked.
 * Calls have Linux's results: negative is an errno.  A call that has to wait returns WAITS, having said for what
 * (wait_for), and is made again when that has come.
 *
 * Every pointer of the program is looked at before it is used (memory_reach): what is not there is -EFAULT, and
 * what has no page yet gets one.  Nothing here uses a floating-point register.
 */
#ifndef PENGLAI_LINUX_H
#define PENGLAI_LINUX_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include "image.h"

typedef unsigned long word;

#define PAGE 4096UL
#define NEVER (~0UL)
#define NS_PER_S 1000000000UL
#define WAITS (-600L)    /* the call is made again later */
#define CONTINUES (-601L) /* the thread's registers are already what it goes on with */
#define PATH_BYTES 4096
#define SIGNALS 64
#define PROCESS_ID 1
#define DESCRIPTORS 1024
#define FILE_BYTES (1UL << 31) /* a file is no larger */
#define PATHS_BYTES (2 * PATH_BYTES)

struct pending {
    int number, code;
    word value, address;
};

/* Registers of a thread, as entry.S and the monitor know them. */
struct frame {
    word pc, x[31], f[32], fcsr;
};

#define X(thread, n) ((thread)->frame.x[(n) - 1])
#define A0 10
#define A6 16
#define A7 17

enum wait { RUNS, SLEEPS, WAITS_FUTEX, WAITS_FILES, WAITS_SIGNAL };

struct thread {
    struct frame frame;
    struct thread *next;
    int id;
    enum wait wait;
    int woken, interrupted, again; /* again: the call was made before, and has waited since */
    word moved, done; /* by a call that has waited: bytes of pieces that are done, and of the next one */
    word deadline;
    word futex;
    unsigned bits;
    word mask, old_mask; /* blocked signals; those to put back once a handler has been entered */
    int restores_mask;
    word pending;
    struct pending info[SIGNALS + 1];
    word stack, stack_size; /* for signals; size 0: none */
    word clear_id;
    word preference;
    char name[16];
};

extern struct thread *linux_current;
#define current linux_current

/* ---- monitor.c: calls to the monitor ---- */
long monitor_call(long function, word a, word b, word c);
_Noreturn void monitor_end(word value);
void monitor_yield(void);
int monitor_map(word address, word size);
int monitor_unmap(word address, word size);
int monitor_random(void *buffer, word size);
void monitor_write(const char *text, size_t size);
word monitor_time_of_day(void);
void monitor_events(word handler, word events);
/* Questions to whoever runs the enclave.  The answer is to be checked; 0 if nobody answers. */
enum {
    ASK_READ = 1,
    ASK_WAIT,
    ASK_SIGNALS,
    ASK_TERMINAL,
    ASK_STAT,
    ASK_LIST,
    ASK_GET,
    ASK_PUT,
    ASK_MAKE,
    ASK_RESIZE,
    ASK_REMOVE,
    ASK_RENAME,
    ASK_MODE,
    ASK_LISTEN,
    ASK_ACCEPT,
    ASK_CONNECT,
    ASK_CONNECTED,
    ASK_READY,
    ASK_RECEIVE,
    ASK_SEND,
    ASK_SHUT
};
#define LAST_ERROR 133 /* EHWPOISON: what an answer can be at least is -133 */
long monitor_ask(word question, word argument);
void monitor_give(word at, const char *from, word size); /* copies into the kernel buffer */
void monitor_take(char *to, word size); /* copies what the host has put into the kernel buffer */
word ticks_ns(void);

/* ---- string.c ---- */
void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *a, const void *b, size_t size);
size_t strlen(const char *text);
int text_is(const char *text, size_t length, const char *word);
size_t format_number(char *out, word value);

/* ---- memory.c: the program's address space ---- */
int memory_begin(const struct linux_image *image);
/* Makes [address, address + size) usable; 0 or -EFAULT. */
int memory_reach(word address, word size, int writes);
/* A text that ends within size bytes, copied; its length, or -EFAULT or -ENAMETOOLONG. */
long memory_text(char *out, word address, size_t size);
/* A page that is the program's but not there yet: 1 if it is there now. */
int memory_fault(word address, int writes);
/* Pages for the personality itself; 0 if there is no memory. */
word memory_take(word size);
void memory_give(word address, word size);
word memory_resident(void);
size_t memory_describe(char *out, size_t room);
long call_mprotect(word address, word size, word protection);
long call_madvise(word address, word size, word advice);
long call_mincore(word address, word size, word vector);
long call_msync(word address, word size, word flags);

/* ---- mappings.c ---- */
long call_brk(word end);
long call_mmap(word address, word size, word protection, word flags, word descriptor, word offset);
long call_munmap(word address, word size);
long call_mremap(word address, word old, word size, word flags, word to);

/* ---- heap.c: small pieces of the personality's own ---- */
void *heap_new(size_t size);
void heap_free(void *piece, size_t size);

/* ---- stack.c ---- */
word stack_build(const struct linux_image *image, word top);

/* ---- tree.c: files and directories ---- */
struct place {
    struct node *node;      /* NULL: there is none of that name */
    struct node *directory; /* that has, or is to have, the name; NULL: the path ends with . or .. or is / */
    struct entry *entry;
    char name[256];
    size_t length;
    int slash, up; /* the path ends with /, with .. */
};
extern struct node *tree_root, *tree_current;
extern unsigned tree_umask;
int tree_begin(const struct linux_image *image);
/* from: the directory that a relative path begins in.  follows: the last name, if it is a link; -1: not even one with
 * a slash behind it.  0 or an error. */
long tree_walk(struct node *from, const char *path, int follows, struct place *place);
struct node *tree_add(struct node *directory, const char *name, size_t length, unsigned mode);
long tree_enter(struct node *directory, const char *name, size_t length, struct node *node);
void tree_remove(struct node *directory, struct entry *entry);
struct entry *tree_look_up(const struct node *directory, const char *name, size_t length);
long tree_fill(struct node *node, const char *from, word size, word offset); /* what lies here, only */
void tree_empty(struct node *node); /* the same, of its content */
void tree_drop(struct node *node); /* frees it, if it has no name and is not open */
long tree_write(struct node *node, const char *from, word size, word offset);
long tree_resize(struct node *node, word size);
long tree_share(struct node *node);
void tree_touch(struct node *node);
long tree_path(const struct node *node, char *out, size_t room); /* its length, or an error */
void tree_describe(const struct node *node, struct stat *about);

/* ---- mounts.c: directories of the host's; of nodes that have `hosts` ---- */
extern int
    mount_pinned; /* nothing that is known is forgotten: a call has two paths, and looks at the second one */
long mount_look_up(struct node *directory, const char *name, size_t length);
long mount_list(struct node *directory);
long mount_open(struct node *file); /* fetches what is in it, unless it is open already */
void mount_close(struct node *file);
long mount_write(const struct node *file, const char *from, word size, word offset);
long mount_resize(const struct node *file, word size);
/* A new file or directory; what goes; what gets another name.  Nothing is asked where nothing is the host's. */
long mount_make(const struct node *directory, const char *name, size_t length, int is_directory);
long mount_remove(const struct node *directory, const char *name, size_t length, int is_directory);
long mount_rename(const struct place *from, const struct place *to);

/* ---- protected.c: the file server's side of it ---- */
void protected_begin(const struct linux_image *image);
long protected_ask(word question, word argument, char exchange[PAGE]); /* as monitor_ask */

/* ---- proc.c: files whose content is made when they are opened ---- */
enum special {
    NOTHING,
    IS_NULL,
    IS_ZERO,
    IS_FULL,
    IS_RANDOM,
    IS_STDIN,
    IS_STDOUT,
    IS_STDERR,
    PROC_MAPS,
    PROC_STATUS,
    PROC_STAT,
    PROC_COMMAND,
    PROC_ENVIRONMENT,
    PROC_CPUS,
    PROC_MEMORY,
    PROC_UPTIME,
    PROC_LOAD,
    PROC_VERSION,
    PROC_STATM,
    PROC_MOUNTS,
    PROC_LIMITS
};
int proc_begin(const struct linux_image *image);
struct node *proc_make(const struct node *node);

/* ---- files.c: what is open ---- */
enum kind {
    REGULAR,
    DIRECTORY,
    CONSOLE,
    NULL_DEVICE,
    ZERO_DEVICE,
    FULL_DEVICE,
    RANDOM_DEVICE,
    PIPE_READ,
    PIPE_WRITE,
    PAIR, /* a socket that is connected */
    SOCKET, /* one that is not */
    EVENT,
    EPOLL
};
struct file {
    enum kind kind;
    int uses, flags;
    int lock; /* of flock: 0, LOCK_SH or LOCK_EX */
    word offset; /* of CONSOLE: which of the host's descriptors it is, 0 to 2 */
    struct node *node;
    void *more; /* of its kind */
};
#define PEEKS (1 << 28) /* flags, for the length of a call: what is read stays */
#define WANTS_ALL (1 << 29) /* reading waits until all is there */
struct file *file_new(enum kind kind, int flags);
void file_release(struct file *file);
#define MOST_BYTES 0x7ffff000UL /* of one call */
int file_reads(const struct file *file);
int file_writes(const struct file *file);
/* offset: NULL for the file's own. */
long file_read(struct file *file, word buffer, word size, word *offset);
long file_write(struct file *file, word buffer, word size, word *offset);
unsigned file_ready(struct file *file); /* POLLIN, POLLOUT, POLLERR, POLLHUP */
void file_describe(const struct file *file, struct stat *about);
long call_read(word number, word buffer, word size);
long call_write(word number, word buffer, word size);
long call_readv(word number, word pieces, word count);
long call_writev(word number, word pieces, word count);
long call_pread(word number, word buffer, word size, word offset);
long call_pwrite(word number, word buffer, word size, word offset);
long call_preadv(word number, word pieces, word count, word offset);
long call_pwritev(word number, word pieces, word count, word offset);
long call_lseek(word number, word offset, word whence);
long call_ioctl(word number, word request, word argument);

/* ---- directories.c ---- */
long call_chdir(word path);
long call_fchdir(word number);
long call_getcwd(word out, word size);
long call_getdents(word number, word buffer, word size);

/* ---- sizes.c ---- */
long call_ftruncate(word number, word size);
long call_fallocate(word number, word mode, word offset, word size);
long call_fsync(word number);
long call_fadvise(word number, word size, word advice);
long call_truncate(word path, word size);

/* ---- copies.c ---- */
long call_sendfile(word out, word in, word offset, word size);
long call_copy_range(word in, word in_offset, word out, word out_offset, word size, word flags);

/* ---- console.c: input, signals and terminals of the host's ---- */
void console_begin(void);
int console_is_served(void);
long console_read(const struct file *file, word buffer, word size);
unsigned console_ready(void);
void console_look(void); /* takes signals, and makes those who wait for input look again */
void console_wait(word deadline); /* until something comes from the host, or to this time of ticks_ns() */
void console_idle(word deadline); /* nobody runs before then */
int console_is_terminal(const struct file *file);
long console_ioctl(const struct file *file, word request, word argument);

/* ---- descriptors.c ---- */
int descriptors_begin(void);
struct file *descriptor_file(word number);
long descriptor_new(struct file *file, word from, int closes_on_exec); /* takes the file over, if it can */
long call_close(word number);
long call_close_range(word first, word last, word flags);
long call_dup(word number);
long call_dup3(word number, word to, word flags);
long call_fcntl(word number, word command, word argument);
long call_flock(word number, word operation);

/* ---- names.c: calls with paths ---- */
/* Copies a path and walks it.  empty: what "" means is the descriptor itself. */
long path_find(word from, word path, int follows, int empty, struct place *place);
long path_node(word from, word path, int follows, int empty, struct node **node);
long call_openat(word from, word path, word flags, word mode);
long call_readlinkat(word from, word path, word out, word size);
long call_mkdirat(word from, word path, word mode);
long call_mknodat(word from, word path, word mode, word device);
long call_unlinkat(word from, word path, word flags);
long call_renameat2(word from, word path, word to, word new, word flags);
long call_linkat(word from, word path, word to, word new, word flags);
long call_memfd(word name, word flags);
long call_symlinkat(word target, word from, word path);

/* ---- attributes.c ---- */
long call_fstatat(word from, word path, word about, word flags);
long call_fstat(word number, word about);
long call_statx(word from, word path, word flags, word mask, word about);
long call_faccessat(word from, word path, word mode, word flags);
long call_fchmod(word number, word mode);
long call_fchmodat(word from, word path, word mode, word flags);
long call_fchown(word number, word user, word group);
long call_fchownat(word from, word path, word user, word group, word flags);
long call_utimensat(word from, word path, word times, word flags);
long call_statfs(word path, word out);
long call_fstatfs(word number, word out);
long call_umask(word mask);

/* ---- pipes.c ---- */
long call_pipe2(word out, word flags);
long call_socketpair(word domain, word type, word protocol, word out);
long pair_shut(struct file *file, int reads, int writes);
/* Of a socket.  size: bytes of it, as calls have them; 2 for one without a name. */
struct socket_name {
    unsigned short family;
    char rest[108];
    unsigned size;
};
struct pair_names {
    struct socket_name local, remote;
};
int pair_new(struct file *ends[2], int flags); /* two sockets that are connected; 0 or -ENFILE */
struct pair_names *pair_names(const struct file *file);
long pipe_read(struct file *file, word buffer, word size);
long pipe_write(struct file *file, word buffer, word size);
long pipe_send(struct file *file, const char *from,
               word size); /* of the personality's memory; a part, if need be */
unsigned pipe_ready(const struct file *file);
/* Of a socket that is connected, for whoever holds it instead of a program. */
size_t pair_room(const struct file *file); /* bytes that it can write; 0 also if nobody reads them */
void pair_put(const struct file *file, const char *from, size_t size);
size_t pair_look(const struct file *file, char *to, size_t most); /* what waits for it: how much, not taken */
void pair_skip(const struct file *file, size_t size);
int pair_is_left(const struct file *file, int reads); /* nobody writes to it any more, or reads from it */
void pipe_release(struct file *file);
word pipe_held(const struct file *file);
long pipe_size(const struct file *file, word size); /* size 0: tells it */

/* ---- addresses.c: names of sockets ---- */
#define INET_SIZE 16U
#define LOOPBACK 127U /* first byte of addresses that stay inside */
#define OWN_ADDRESS 0x0a00020fU /* 10.0.2.15: what the host's connections lead to */
#define HOST_ADDRESS 0x0a000202U /* 10.0.2.2: the host itself */
unsigned name_port(const struct socket_name *name);
void name_set_port(struct socket_name *name, unsigned port);
unsigned name_address(const struct socket_name *name);
void name_set_address(struct socket_name *name, unsigned address);
int name_is_path(const struct socket_name *name);
void name_path(const struct socket_name *name, char *out); /* with its NUL, which a name need not have */
int name_is_same(const struct socket_name *one, const struct socket_name *other);
long name_read(word address, word size, unsigned family, struct socket_name *name);

/* ---- connections.c: sockets that are not connected, and how they become so ---- */
unsigned socket_ready(const struct file *file);
void socket_release(struct file *file);
const struct socket_name *socket_name(const struct file *file);
int socket_listens(const struct file *file);
struct file *socket_join(struct file *file, unsigned address);
int socket_has_room(unsigned port); /* whoever listens at a port of every address takes one more */
void socket_offer(unsigned port, struct file *end);
void socket_fail(struct file *file, long error);
long socket_take_error(const struct file *file);
long call_socket(word domain, word type, word protocol);
long call_bind(word number, word name, word size);
long call_listen(word number, word backlog);
long call_connect(word number, word name, word size);
long call_accept4(word number, word name, word size, word flags);

/* ---- network.c: connections that the host makes ---- */
void network_listen(unsigned port);
void network_unlisten(unsigned port);
long network_connect(struct file *socket, const struct socket_name *remote); /* 0: it is under way */
void network_forget(const struct file *socket);
void network_look(void); /* asks what has come */
void network_move(void); /* what is known to have come, and what goes */
void network_end(void);

/* ---- sockets.c: calls on sockets of any kind ---- */
long socket_find(word number, struct file **file);
long socket_write_early(const struct file *file, int quietly); /* one that is not connected */
long socket_put_name(const struct socket_name *from, word name, word size);
long call_socket_name(word number, word name, word size, int remote);
long call_sendto(word number, word buffer, word size, word flags);
long call_recvfrom(word number, word buffer, word size, word flags, word name, word name_size);
long call_setsockopt(word number, word level, word value, word size);
long call_getsockopt(word number, word level, word option, word value, word size);
long call_shutdown(word number, word how);
long call_sendmsg(word number, word message, word flags);
long call_recvmsg(word number, word message, word flags);

/* ---- poll.c ---- */
long call_ppoll(word list, word count, word timeout, word mask, word size);
long call_pselect(word count, word in, word out, word errors, word timeout, word mask);

/* ---- epoll.c: eventfd and epoll ---- */
long call_eventfd(word value, word flags);
long event_read(struct file *file, word buffer, word size);
long event_write(struct file *file, word buffer, word size);
unsigned event_ready(const struct file *file);
long call_epoll_create(word flags);
long call_epoll_ctl(word epoll, word operation, word number, word event);
long call_epoll_pwait(word epoll, word events, word most, word timeout, word mask, word size);
unsigned epoll_ready(const struct file *file);
void epoll_release(struct file *file);
void epoll_forget(word number, const struct file *file);

/* ---- threads.c ---- */
int threads_begin(word pc, word stack);
/* The call of the current thread waits: WAITS, or -EINTR if a signal has come.  deadline: of ticks_ns(). */
long wait_for(enum wait wait, word deadline);
/* When a call that began now, or has waited since, is to end. */
word wait_until(word ns);
int wait_is_over(void);
void wake(struct thread *thread);
void wake_files(void);
extern word files_changed; /* counts wake_files() */
/* Fills in the current thread's pc, a6 and a7, which only the monitor knows. */
void where_is_current(void);
void threads_set_events(void);
struct thread *thread_of(int id);
struct thread *threads_first(void);
int threads_count(void);
long call_clone(word flags, word stack, word parent_id, word tls, word child_id);
long call_exit(word value);
long call_set_tid_address(word address);

/* ---- futex.c ---- */
long futex_wake(word address, word most, unsigned bits); /* how many */
long call_futex(word address, word operation, word value, word timeout, word other, word bits);

/* ---- signals.c ---- */
#define BIT(signal) (1UL << ((signal) - 1))
void signal_raise(struct thread *thread, struct pending info); /* thread NULL: any */
int signal_is_due(const struct thread *thread);
/* Enters the handlers of what is due; the thread's registers are those that it goes on with. */
void signal_deliver(struct thread *thread);
void signal_fault(struct thread *thread, word cause, word address);
int signal_restarts(const struct thread *thread);
/* Sets the mask for the length of a call; a signal that comes is handled under the old one. */
long signal_mask_for_call(word address, word size);
long call_sigaction(word number, word new, word old, word size);
long call_sigprocmask(word how, word new, word old, word size);
long call_sigpending(word set, word size);
long call_sigsuspend(word set, word size);
long call_sigtimedwait(word set, word info, word timeout, word size);
long call_sigaltstack(word new, word old);
long call_sigreturn(void);
long call_kill(word process, word number);
long call_tkill(word id, word number);
long call_tgkill(word process, word id, word number);
long call_sigqueueinfo(word process, word number, word info);

/* ---- time.c ---- */
int time_of(word clock, word *ns);
long time_read(word address, int micro, word *ns); /* of a timespec or timeval */
void timers_expire(void);
int timers_armed(void);
word timers_next(void); /* when the next one is due, of ticks_ns(); NEVER if none is armed */
long write_time(word address, word ns, word unit);
long call_clock_gettime(word clock, word time);
long call_clock_getres(word clock, word time);
long call_gettimeofday(word time, word zone);
long call_nanosleep(word time, word rest);
long call_clock_nanosleep(word clock, word flags, word time, word rest);
long call_setitimer(word which, word new, word old);
long call_getitimer(word which, word old);
long call_times(word out);

/* ---- system.c ---- */
void complain(const char *text); /* one line of the personality's own, among the output */
void complain_once(const char *text); /* unless it was the last one */
void system_memory(word *total, word *free);
long call_uname(word out);
long call_sysinfo(word out);
long call_getcpu(word cpu, word node);
long call_getrandom(word buffer, word size, word flags);
long call_wait4(word process, word options);
long call_exit_group(word value);
long call_prlimit(word process, word which, word new, word old);
long call_getrlimit(word which, word old);
long call_setrlimit(word which, word new);
long call_getrusage(word who, word out);
long call_sched_yield(void);
long call_sched_getaffinity(word id, word size, word out);
long call_sched_setaffinity(word id, word size, word in);
long call_sched_getscheduler(word id);
long call_sched_getparam(word id, word out);
long call_sched_setparam(word id, word in);
long call_sched_setscheduler(word id, word policy, word in);
long call_sched_interval(word id, word out);
long call_sched_priority(word policy, int most);
long call_prctl(word option, word argument);
long call_set_robust_list(word head, word size);
long call_membarrier(word command, word flags);
long call_process(void);
long call_refused_permission(void);

/* ---- identity.c ---- */
long if_own(word process, long result); /* -ESRCH of any other process */
long call_zero(void);
long call_getpid(void);
long call_gettid(void);
long call_getpgid(word process);
long call_setpgid(word process, word group);
long call_setsid(void);
long call_setid(word id);
long call_setids(word real, word effective, word saved);
long call_setids2(word real, word effective);
long call_getgroups(word count, word out);
long call_setgroups(word count, word in);
long call_getresid(word real, word effective, word saved);
long call_getpriority(word which, word who);
long call_setpriority(word which, word who, word value);

/* ---- table.c ---- */
long linux_dispatch(struct thread *thread);

#endif
