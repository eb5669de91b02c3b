#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
int main(void)
{
    pthread_attr_t attr;
    void *low = 0;
    size_t size = 0;
    int here;
    int result = pthread_getattr_np(pthread_self(), &attr);
    pthread_attr_getstack(&attr, &low, &size);
    printf("result %d, a local is %s\n", result,
           (char *)&here >= (char *)low && (char *)&here < (char *)low + size ? "inside" : "OUTSIDE");
    return 0;
}
