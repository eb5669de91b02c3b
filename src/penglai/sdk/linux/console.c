/*
 * What the host passes on of its own: input, signals, and whether there is a terminal.
 *
 * Every answer is the host's word.  Lengths are checked before anything is copied, signals are only those that a
 * terminal sends, and whatever is odd counts as the end of the input, or as no terminal.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include "linux.h"

#define SIGNALS_TAKEN (BIT(SIGHUP) | BIT(SIGINT) | BIT(SIGQUIT) | BIT(SIGTERM) | BIT(SIGWINCH))
#define IS_SERVED 1
#define IS_TERMINAL 1
#define INDEFINITELY ((1UL << 63) - 1)

static char input[PAGE]; /* what has been fetched and not read yet */
static word input_first, input_held;
static int input_ended, served, wanted; /* wanted: somebody waits for input */

int console_is_served(void)
{
    return served;
}

/* ---- input ---- */

/* Fetches what is there, if nothing is left; 0 if there is nothing yet. */
static int has_input(word most)
{
    if (input_held || input_ended || !served)
        return 1;
    most = most < PAGE ? most : PAGE;
    long got = monitor_ask(ASK_READ, most);
    if (got == -EAGAIN) {
        wanted = 1;
        return 0;
    }
    if (got <= 0 || (word)got > most) {
        input_ended = 1;
        return 1;
    }
    monitor_take(input, (word)got);
    input_first = 0;
    input_held = (word)got;
    return 1;
}

long console_read(const struct file *file, word buffer, word size)
{
    if (!size)
        return 0;
    if (memory_reach(buffer, 1, 1))
        return -EFAULT;
    if (!has_input(size))
        return file->flags & O_NONBLOCK ? -EAGAIN : wait_for(WAITS_FILES, NEVER);
    size = size < input_held ? size : input_held;
    if (memory_reach(buffer, size, 1))
        return -EFAULT;
    memcpy((void *)buffer, input + input_first, size);
    input_first += size;
    input_held -= size;
    if (!size)
        input_ended = 0; /* a terminal goes on behind its end */
    return (long)size;
}

unsigned console_ready(void)
{
    return has_input(PAGE) ? POLLIN | POLLRDNORM : 0;
}

/* ---- signals, and waiting for what comes ---- */

static void take_signals(void)
{
    word sent = (word)monitor_ask(ASK_SIGNALS, 0);
    served = sent & IS_SERVED;
    for (int number = 1; number < SIGNALS; number++)
        if (sent >> number & 1 && BIT(number) & SIGNALS_TAKEN)
            signal_raise(NULL, (struct pending){number, SI_KERNEL, 0, 0});
}

void console_begin(void)
{
    take_signals();
}

void console_look(void)
{
    if (!served)
        return;
    take_signals();
    network_look();
    if (wanted) {
        wanted = 0;
        wake_files();
    }
}

void console_wait(word deadline)
{
    word now = ticks_ns(), left = deadline == NEVER ? INDEFINITELY : deadline > now ? deadline - now : 0;
    if (served && monitor_ask(ASK_WAIT, left << 1 | (word)wanted))
        console_look();
    else
        monitor_yield();
}

void console_idle(word deadline)
{
    word before = files_changed;
    network_move();
    if (files_changed == before)
        console_wait(deadline);
}

/* ---- terminals ---- */

/* As the kernel's.  A terminal begins by handing on whole lines, and echoing them. */
struct terminal {
    unsigned in, out, control, local;
    unsigned char line, characters[19];
};

#define IN_NEWLINES 0x100 /* ICRNL */
#define LOCAL_MODE 0xb    /* ISIG, ICANON, ECHO */
#define NEWLINES 4

static struct terminal mode = {0x500,  5, 0xbf,
                               0x8a3b, 0, {3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22}};

static word terminal_of(const struct file *file)
{
    word answer = served ? (word)monitor_ask(ASK_TERMINAL, file->offset) : 0;
    return answer >> 32 == IS_TERMINAL ? answer : 0;
}

int console_is_terminal(const struct file *file)
{
    return terminal_of(file) != 0;
}

/* The host does what it can of it. */
static long set_mode(word address)
{
    if (memory_reach(address, sizeof mode, 0))
        return -EFAULT;
    mode = *(const struct terminal *)address;
    monitor_ask(ASK_MODE, (mode.local & LOCAL_MODE) | (mode.in & IN_NEWLINES ? NEWLINES : 0));
    return 0;
}

static long put(word address, const void *from, size_t size)
{
    if (memory_reach(address, size, 1))
        return -EFAULT;
    memcpy((void *)address, from, size);
    return 0;
}

long console_ioctl(const struct file *file, word request, word argument)
{
    word answer = terminal_of(file);
    if (!answer)
        return -ENOTTY;
    const struct winsize size = {.ws_row = (unsigned short)(answer >> 16), .ws_col = (unsigned short)answer};
    const int group = PROCESS_ID;
    switch (request) {
    case TIOCGWINSZ:
        return put(argument, &size, sizeof size);
    case TCGETS:
        return put(argument, &mode, sizeof mode);
    case TIOCGPGRP:
        return put(argument, &group, sizeof group);
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
        return set_mode(argument);
    case TIOCSPGRP:
        return memory_reach(argument, sizeof group, 0);
    default:
        return -ENOTTY;
    }
}
