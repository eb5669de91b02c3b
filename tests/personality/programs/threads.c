#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static sem_t semaphore;
static long total;
static int ready;
static __thread int own = 5;
static volatile int stop;
static void *add(void *value)
{
    double sum = 0;
    for (int i = 0; i < 20000; i++) {
        pthread_mutex_lock(&mutex);
        total++;
        pthread_mutex_unlock(&mutex);
        sum += (double)(long)value / 2;
    }
    own += (int)(long)value;
    return (void *)(long)(sum + own);
}
static void *wait_for_it(void *unused)
{
    pthread_mutex_lock(&mutex);
    while (!ready)
        pthread_cond_wait(&condition, &mutex);
    pthread_mutex_unlock(&mutex);
    return unused;
}
static void *spin(void *unused)
{
    while (!stop)
        ;
    return unused;
}
static void *sleep_long(void *unused)
{
    sleep(1000);
    return unused;
}
static void *at_barrier(void *unused)
{
    pthread_barrier_wait(&barrier);
    sem_post(&semaphore);
    return unused;
}
int main(void)
{
    pthread_t threads[8];
    void *result;
    for (long i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, add, (void *)i);
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], &result);
        printf("%ld ", (long)result);
    }
    printf("total %ld own %d\n", total, own);
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, wait_for_it, NULL);
    pthread_mutex_lock(&mutex);
    ready = 1;
    pthread_cond_broadcast(&condition);
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    puts("broadcast");
    pthread_create(&threads[0], NULL, spin, NULL);
    usleep(30000);
    stop = 1;
    pthread_join(threads[0], NULL);
    puts("a thread that spins keeps nobody from running");
    pthread_create(&threads[0], NULL, sleep_long, NULL);
    usleep(1000);
    pthread_cancel(threads[0]);
    pthread_join(threads[0], &result);
    printf("cancelled: %d\n", result == PTHREAD_CANCELED);
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_nsec += 20000000;
    end.tv_sec += end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    pthread_mutex_lock(&mutex);
    printf("%s\n", strerror(pthread_cond_timedwait(&condition, &mutex, &end)));
    pthread_mutex_unlock(&mutex);
    sem_init(&semaphore, 0, 0);
    pthread_barrier_init(&barrier, NULL, 3);
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, at_barrier, NULL);
    for (int i = 0; i < 3; i++)
        sem_wait(&semaphore);
    printf("barrier, sem_trywait %d %s\n", sem_trywait(&semaphore), strerror(errno));
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    printf("gone: %s\n", strerror(pthread_kill(pthread_self(), 0)));
    return 0;
}
