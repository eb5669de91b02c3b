/* What was said of signals is given back; those that are ignored or blocked do nothing. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static void handler(int signal)
{
    (void)signal;
}

static const char *name(void (*of)(int))
{
    return of == SIG_DFL ? "default" : of == SIG_IGN ? "ignore" : of == handler ? "handler" : "else";
}

static int mask(int how, int signal)
{
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, signal);
    memset(&old, 0xaa, sizeof old);
    sigprocmask(how, &set, &old);
    return sigismember(&old, SIGUSR1) | sigismember(&old, SIGUSR2) << 1;
}

int main(void)
{
    struct sigaction action, old;
    sigset_t waiting;
    memset(&old, 0xaa, sizeof old);
    int result = sigaction(SIGINT, NULL, &old);
    printf("%d %s %x\n", result, name(old.sa_handler), (unsigned)old.sa_flags);
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART | SA_NODEFER;
    sigaddset(&action.sa_mask, SIGUSR2);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGINT, NULL, &old);
    printf("%s %d %d\n", name(old.sa_handler),
           (old.sa_flags & (SA_RESTART | SA_NODEFER)) == (SA_RESTART | SA_NODEFER),
           sigismember(&old.sa_mask, SIGUSR2));
    printf("%s", name(signal(SIGINT, SIG_IGN)));
    printf(" %s", name(signal(SIGINT, SIG_DFL)));
    printf(" %s\n", name(signal(SIGINT, SIG_IGN)));
    result = sigaction(SIGKILL, &action, NULL);
    printf("%d %s\n", result, strerror(errno));
    printf("%d", mask(SIG_BLOCK, SIGUSR1));
    printf(" %d", mask(SIG_BLOCK, SIGUSR2));
    printf(" %d", mask(SIG_UNBLOCK, SIGUSR2));
    printf(" %d\n", mask(SIG_BLOCK, SIGUSR1));
    raise(SIGUSR1);
    sigpending(&waiting);
    printf("%d %d\n", sigismember(&waiting, SIGUSR1), sigismember(&waiting, SIGUSR2));
    raise(SIGINT);
    raise(SIGCHLD);
    puts("still here");
    fflush(stdout);
    mask(SIG_SETMASK, SIGUSR2);
    puts("not here");
    return 0;
}
