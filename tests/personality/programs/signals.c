#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static volatile int count, last;
static volatile double kept;
static sigjmp_buf back;
static char alternative[65536];
static void on(int number)
{
    count++;
    last = number;
    kept = number * 1.5;
}
static void on_info(int number, siginfo_t *info, void *context)
{
    char here;
    (void)context;
    printf("signal %d code %d address %p, on the other stack %d\n", number, info->si_code, info->si_addr,
           &here >= alternative && &here < alternative + sizeof alternative);
    siglongjmp(back, 1);
}
static void *late(void *target)
{
    usleep(20000);
    pthread_kill(*(pthread_t *)target, SIGUSR1);
    return NULL;
}
int main(void)
{
    struct sigaction action = {.sa_handler = on}, old;
    sigset_t set, pending;
    double before = 2.25;
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    printf("%d %d %.2f\n", count, last, before * kept);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    kill(getpid(), SIGUSR1);
    sigpending(&pending);
    printf("blocked: %d, pending %d\n", count, sigismember(&pending, SIGUSR1));
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    printf("unblocked: %d\n", count);
    struct itimerval timer = {{0, 5000}, {0, 5000}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    count = 0;
    while (count < 5)
        ;
    timer = (struct itimerval){0};
    setitimer(ITIMER_REAL, &timer, NULL);
    puts("five alarms");
    pthread_t thread, self = pthread_self();
    pthread_create(&thread, NULL, late, &self);
    struct timespec time = {100, 0}, rest;
    int result = nanosleep(&time, &rest);
    printf("sleep %d %s, rest %ld\n", result, strerror(errno), (long)rest.tv_sec);
    pthread_join(thread, NULL);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR1);
    printf("sigwait %d\n", sigwaitinfo(&set, NULL));
    time = (struct timespec){0, 1000000};
    result = sigtimedwait(&set, NULL, &time);
    printf("sigtimedwait %d %s\n", result, strerror(errno));
    raise(SIGUSR1);
    sigemptyset(&pending);
    result = sigsuspend(&pending);
    printf("sigsuspend %d %s\n", result, strerror(errno));
    stack_t stack = {.ss_sp = alternative, .ss_size = sizeof alternative};
    sigaltstack(&stack, NULL);
    action = (struct sigaction){.sa_sigaction = on_info, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGSEGV, &action, &old);
    sigaction(SIGILL, &action, NULL);
    fflush(stdout);
    if (!sigsetjmp(back, 1))
        *(volatile int *)0x123000 = 1;
    if (!sigsetjmp(back, 1))
        printf("%d\n", *(volatile int *)0x456000);
    fflush(stdout);
    int pipes[2];
    signal(SIGPIPE, SIG_IGN);
    pipe(pipes);
    close(pipes[0]);
    result = (int)write(pipes[1], "x", 1);
    printf("pipe %d %s\n", result, strerror(errno));
    action = (struct sigaction){.sa_handler = on, .sa_flags = SA_RESETHAND};
    sigaction(SIGUSR2, &action, NULL);
    raise(SIGUSR2);
    sigaction(SIGUSR2, NULL, &old);
    printf("once: %d\n", old.sa_handler == SIG_DFL);
    fflush(stdout);
    abort();
}
