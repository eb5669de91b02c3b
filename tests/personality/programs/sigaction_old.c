#include <signal.h>
#include <stdio.h>
#include <string.h>
static void handler(int s)
{
    (void)s;
}
int main(void)
{
    struct sigaction new, old;
    sigset_t set, previous;
    memset(&old, 0xAA, sizeof old);
    printf("sigaction %d: ", sigaction(SIGINT, NULL, &old));
    printf("old handler %p (SIG_DFL is %p), flags %x\n", (void *)old.sa_handler, (void *)SIG_DFL,
           old.sa_flags);
    memset(&new, 0, sizeof new);
    new.sa_handler = handler;
    sigaction(SIGINT, &new, NULL);
    printf("signal returned %s\n", signal(SIGINT, SIG_IGN) == handler ? "my handler" : "SOMETHING ELSE");
    printf("and now %s\n", signal(SIGINT, SIG_DFL) == SIG_IGN ? "SIG_IGN" : "SOMETHING ELSE");
    memset(&previous, 0xAA, sizeof previous);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, &previous);
    printf("before: SIGUSR1 %d SIGUSR2 %d (0 0 expected)\n", sigismember(&previous, SIGUSR1),
           sigismember(&previous, SIGUSR2));
    sigprocmask(SIG_BLOCK, NULL, &previous);
    printf("after: SIGUSR1 %d SIGUSR2 %d (1 0 expected)\n", sigismember(&previous, SIGUSR1),
           sigismember(&previous, SIGUSR2));
    return 0;
}
