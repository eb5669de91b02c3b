/* The C library: malloc, qsort, strings, mathematics, time, thread-local variables, exit handlers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "eapp.h"
#include "print.h"

#define WORDS 5

static _Thread_local int used = 1;

static void goodbye(void)
{
    printf("libc: and what exit() does, too\n");
}

static int by_text(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

int EAPP_ENTRY main(void)
{
    char text[] = "what a program can rely on", *words[WORDS + 1];
    int count = 0;
    atexit(goodbye);
    for (char *word = strtok(text, " "); word && count <= WORDS; word = strtok(NULL, " "))
        words[count++] = strdup(word);
    qsort(words, (size_t)count, sizeof words[0], by_text);
    for (int i = 0; i < count; i++) {
        printf("libc: %s\n", words[i]);
        free(words[i]);
    }
    printf("libc: sqrt(2) is %.15f, the year is %s\n", sqrt(2),
           time(NULL) > 1000000000 ? "known" : "not known");
    return count + used;
}
