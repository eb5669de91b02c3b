/* The C library's files: the value is the number of the line of the first thing that is not as it should be, or 0. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MUST(condition)                                         \
    do                                                          \
        if (!(condition)) {                                     \
            printf("line %d: %s\n", __LINE__, strerror(errno)); \
            return __LINE__;                                    \
        }                                                       \
    while (0)
#define FAILS(call, number) MUST((call) == -1 && errno == (number))

static char large[150000], back[sizeof large];

static int content_is(const char *path, const char *expected)
{
    char found[100] = "";
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    size_t size = fread(found, 1, sizeof found - 1, file);
    fclose(file);
    return size == strlen(expected) && !strcmp(found, expected);
}

static int write_all(const char *path, const char *mode, const char *text)
{
    FILE *file = fopen(path, mode);
    return file && fputs(text, file) >= 0 && !fclose(file);
}

static int streams(void)
{
    char line[10];
    MUST(!fopen("/none", "r") && errno == ENOENT);
    MUST(write_all("/s", "w", "one\ntwo\n"));
    MUST(write_all("/s", "a", "three\n"));
    MUST(content_is("/s", "one\ntwo\nthree\n"));
    FILE *file = fopen("s", "r+");
    MUST(file && fgets(line, sizeof line, file) && !strcmp(line, "one\n"));
    MUST(ftell(file) == 4 && !fseek(file, 0, SEEK_CUR) && fputs("TWO", file) >= 0);
    MUST(!fseek(file, -3, SEEK_END) && fgetc(file) == 'e');
    MUST(!fclose(file) && content_is("/s", "one\nTWO\nthree\n"));
    MUST(write_all("/s", "w", "4") && content_is("/s", "4"));
    return 0;
}

static int descriptors(void)
{
    struct stat about;
    int fd = open("/fd", O_RDWR | O_CREAT | O_EXCL, 0600);
    MUST(fd >= 3);
    FAILS(open("/fd", O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (char)(i * 7 + i / 1000);
    MUST(write(fd, large, sizeof large) == (ssize_t)sizeof large);
    MUST(lseek(fd, 0, SEEK_SET) == 0 && read(fd, back, sizeof back) == (ssize_t)sizeof back);
    MUST(!memcmp(large, back, sizeof large) && read(fd, back, 1) == 0);
    MUST(!fstat(fd, &about) && about.st_size == (off_t)sizeof large && S_ISREG(about.st_mode));
    FAILS(lseek(fd, -1, SEEK_SET), EINVAL);
    int again = dup(fd);
    MUST(again > fd && !close(fd) && lseek(again, 5, SEEK_SET) == 5);
    FAILS(read(fd, back, 1), EBADF);
    MUST(read(again, back, 1) == 1 && *back == large[5] && !close(again));
    fd = open("/fd", O_RDONLY);
    FAILS(write(fd, "x", 1), EBADF);
    MUST(!close(fd));
    return 0;
}

/* What servers of the original's do not have. */
static int more_of_descriptors(void)
{
    struct stat about;
    int fd = open("/more", O_RDWR | O_CREAT, 0600);
    MUST(fd >= 3 && write(fd, "12345", 5) == 5);
    MUST(pread(fd, back, 2, 1) == 2 && !memcmp(back, "23", 2) && lseek(fd, 0, SEEK_CUR) == 5);
    MUST(pwrite(fd, "x", 1, 0) == 1 && !ftruncate(fd, 3) && !fsync(fd));
    MUST(!fstat(fd, &about) && about.st_size == 3 && !close(fd) && content_is("/more", "x23"));
    return 0;
}

static int names(void)
{
    struct stat about;
    MUST(!mkdir("/d", 0700) && write_all("/d/x", "w", "in d"));
    FAILS(mkdir("/d", 0700), EEXIST);
    FAILS(stat("/d/none", &about), ENOENT);
    MUST(!stat("/d/x", &about) && about.st_size == 4 && !access("/d/x", R_OK));
    MUST(!unlink("/d/x") && !write_all("/e/none/x", "w", ""));
    return 0;
}

static int more_of_names(void)
{
    struct stat about;
    int count = 0, directories = 0;
    MUST(!stat("/d", &about) && S_ISDIR(about.st_mode));
    for (int i = 0; i < 70; i++) {
        char path[20];
        snprintf(path, sizeof path, "/d/file%d", i);
        MUST(write_all(path, "w", path));
    }
    MUST(!mkdir("/d/below", 0700));
    DIR *directory = opendir("/d");
    MUST(directory);
    for (struct dirent *entry; (entry = readdir(directory)); count++)
        directories += entry->d_type == DT_DIR;
    MUST(!closedir(directory) && count == 73 && directories == 3);
    MUST(!opendir("/d/file1") && errno == ENOTDIR);
    FAILS(rmdir("/d"), ENOTEMPTY);
    FAILS(rmdir("/d/file1"), ENOTDIR);
    FAILS(unlink("/d/below"), EISDIR);
    FAILS(open("/d", O_RDWR), EISDIR);
    int at = open("/d", O_RDONLY | O_DIRECTORY);
    int fd = openat(at, "file3", O_RDONLY);
    MUST(fd >= 0 && read(fd, back, 20) == 8 && !memcmp(back, "/d/file3", 8) && !close(fd) && !close(at));
    MUST(!rename("/d/file1", "/moved") && content_is("/moved", "/d/file1"));
    MUST(!rmdir("/d/below"));
    return 0;
}

int main(void)
{
    int wrong = streams();
    wrong = wrong ? wrong : descriptors();
    wrong = wrong ? wrong : names();
#ifndef ORIGINAL
    wrong = wrong ? wrong : more_of_descriptors();
    wrong = wrong ? wrong : more_of_names();
#endif
    return wrong;
}
