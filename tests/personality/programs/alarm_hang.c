#include <signal.h>
#include <stdio.h>
#include <unistd.h>
static volatile int fired;
static void on_alarm(int number)
{
    fired = number;
}
int main(void)
{
    signal(SIGALRM, on_alarm);
    printf("alarm: %u\n", alarm(1));
    fflush(stdout);
    while (!fired)
        ; /* Linux: leaves after a second */
    puts("fired");
    return 0;
}
