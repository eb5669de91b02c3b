/*
 * Threads that run many instances of one shadow; each instance returns 7 at once.
 *
 *     instances FILE THREADS COUNT
 */
#include "device.h"

static struct user_param shadow;
static int count;

static void *work(void *unused)
{
    (void)unused;
    for (int i = 0; i < count; i++) {
        struct user_param param = shadow;
        if (call(RUN, &param))
            die("run");
        if (param.retval != 7 || !param.shadow)
            exit(1);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[16];
    int number = argc > 3 ? atoi(argv[2]) : 1;
    device_open();
    count = atoi(argv[argc - 1]);
    shadow = make(argv[1], SHADOW, "shadow");
    for (int i = 0; i < number; i++)
        if (pthread_create(&threads[i], NULL, work, NULL))
            die("pthread_create");
    for (int i = 0; i < number; i++)
        pthread_join(threads[i], NULL);
    printf("instances: well\n");
    return 0;
}
