/*
 * Objects are sealed with this server's own key, bound to their numbers: the file server is whatever the host gives the
 * name to.
 */
#include "objects.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "seal.h"

#define DIRECTORY "/psa"
#define PATH_SIZE 32

enum kind { OBJECT = 16 };

static struct {
    uint8_t tag[SEAL_TAG];
    uint8_t text[sizeof(struct object)];
} stored;

#define HEAD (sizeof(struct object) - OBJECT_SIZE)

static void name(char path[PATH_SIZE], uint64_t uid)
{
    snprintf(path, PATH_SIZE, DIRECTORY "/%016lx", uid);
}

static struct seal_place place_of(uint64_t uid)
{
    return (struct seal_place){OBJECT, 0, uid};
}

psa_status_t object_load(uint64_t uid, struct object *object)
{
    char path[PATH_SIZE];
    struct seal_place place = place_of(uid);
    name(path, uid);
    int file = open(path, O_RDONLY);
    if (file < 0)
        return errno == ENOENT ? PSA_ERROR_DOES_NOT_EXIST : PSA_ERROR_GENERIC_ERROR;
    ssize_t size = read(file, &stored, sizeof stored);
    close(file);
    size_t least = SEAL_TAG + HEAD;
    if (size < (ssize_t)least || seal_ready() ||
        seal_open(&place, stored.text, (size_t)size - SEAL_TAG, stored.tag, (uint8_t *)object))
        return PSA_ERROR_GENERIC_ERROR;
    return object->size == (size_t)size - least ? PSA_SUCCESS : PSA_ERROR_GENERIC_ERROR;
}

/* How many there are; more than can be if it is not known. */
static int count(void)
{
    int found = 0;
    DIR *directory = opendir(DIRECTORY);
    if (!directory)
        return errno == ENOENT ? 0 : OBJECT_MOST;
    for (struct dirent *entry; (entry = readdir(directory));)
        found += entry->d_type == DT_REG;
    closedir(directory);
    return found;
}

psa_status_t object_store(uint64_t uid, const struct object *object)
{
    char path[PATH_SIZE];
    struct seal_place place = place_of(uid);
    name(path, uid);
    if (access(path, F_OK) && count() >= OBJECT_MOST)
        return PSA_ERROR_INSUFFICIENT_STORAGE;
    if (seal_ready())
        return PSA_ERROR_GENERIC_ERROR;
    mkdir(DIRECTORY, 0700);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (file < 0)
        return PSA_ERROR_GENERIC_ERROR;
    seal_close(&place, (const uint8_t *)object, HEAD + object->size, stored.text, stored.tag);
    ssize_t size = (ssize_t)(SEAL_TAG + HEAD + object->size);
    ssize_t done = write(file, &stored, (size_t)size); /* one request: all of it, or nothing */
    int error = done < 0 ? errno : 0;
    close(file);
    if (done == size)
        return PSA_SUCCESS;
    return error == ENOSPC ? PSA_ERROR_INSUFFICIENT_STORAGE : PSA_ERROR_GENERIC_ERROR;
}

psa_status_t object_remove(uint64_t uid)
{
    char path[PATH_SIZE];
    name(path, uid);
    return unlink(path) ? PSA_ERROR_GENERIC_ERROR : PSA_SUCCESS;
}
