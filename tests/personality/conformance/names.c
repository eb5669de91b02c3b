/* Names: directories, links, renaming, rights, times, paths. */
#include "cases.h"
#include <dirent.h>
#include <sys/statfs.h>
#include <sys/time.h>

static struct stat about;

static void make(const char *name)
{
    close(open(name, O_WRONLY | O_CREAT, 0644));
}

static void directories(void)
{
    T(mkdir("d", 0755));
    T(mkdir("d", 0755));
    T(mkdir("d/", 0755));
    T(mkdir("none/d", 0755));
    T(mkdir("", 0755));
    T(mkdir(".", 0755));
    T(mkdir("d/e/", 0700));
    T(stat("d", &about));
    SHOW(about.st_nlink);
    SHOW(about.st_mode);
    T(stat("d/e", &about));
    SHOW(about.st_mode);
    T(rmdir("d"));
    T(rmdir("d/."));
    T(rmdir("d/e/.."));
    T(rmdir("none"));
    T(rmdir("d/e"));
    make("f");
    T(rmdir("f"));
    T(mkdir("f/x", 0755));
    T(unlink("d"));
    T(unlink("none"));
    T(unlink("f/"));
    T(unlinkat(AT_FDCWD, "d", AT_REMOVEDIR));
    T(unlinkat(AT_FDCWD, "f", 0x40));
    T(unlinkat(88, "f", 0));
    T(unlink("f"));
    T(rmdir("/"));
    T(umask(027));
    T(mkdir("u", 0777));
    T(stat("u", &about));
    SHOW(about.st_mode);
    T(umask(022));
    T(mknod("n", S_IFREG | 0666, 0));
    T(mknod("n", S_IFREG | 0666, 0));
    T(stat("n", &about));
    SHOW(about.st_mode);
    T(mknod("n2", S_IFDIR | 0666, 0));
    T(unlink("n"));
}

static void links(void)
{
    char text[100];
    make("f");
    T(link("f", "g"));
    T(link("f", "g"));
    T(link("none", "h"));
    T(link("u", "h"));
    T(link("f", "none/h"));
    T(stat("g", &about));
    SHOW(about.st_nlink);
    T(symlink("f", "s"));
    T(symlink("f", "s"));
    T(symlink("", "s2"));
    T(symlink("nowhere", "dangling"));
    T(readlink("s", text, sizeof text));
    T(readlink("s", text, 0));
    T(readlink("dangling", text, 3));
    SHOW(text[2]);
    T(readlink("f", text, sizeof text));
    T(readlink("none", text, sizeof text));
    T(readlink("s", NOWHERE, 10));
    T(stat("dangling", &about));
    T(lstat("dangling", &about));
    SHOW(about.st_size);
    SHOW(S_ISLNK(about.st_mode));
    T(open("dangling", O_WRONLY | O_CREAT | O_EXCL, 0600));
    T(linkat(AT_FDCWD, "s", AT_FDCWD, "hard", 0));
    T(lstat("hard", &about));
    SHOW(S_ISLNK(about.st_mode));
    T(linkat(AT_FDCWD, "s", AT_FDCWD, "hard2", AT_SYMLINK_FOLLOW));
    T(lstat("hard2", &about));
    SHOW(S_ISREG(about.st_mode));
    T(linkat(AT_FDCWD, "s", AT_FDCWD, "hard3", 0x77));
    T(symlink("u", "to_u"));
    T(mkdir("to_u", 0755));
    T(mkdir("to_u/x", 0755));
    T(rmdir("to_u"));
    T(unlink("to_u/"));
    T(stat("to_u/x", &about));
    T(rmdir("u/x"));
    T(unlink("to_u"));
}

static void renaming(void)
{
    T(rename("g", "g2"));
    T(rename("g", "g3"));
    T(rename("g2", "f"));
    T(stat("g2", &about));
    T(mkdir("a", 0755));
    T(mkdir("a/b", 0755));
    T(mkdir("c", 0755));
    T(rename("a", "a/b/x"));
    T(rename("a", "a"));
    T(rename("a", "f"));
    T(rename("f", "a"));
    T(rename("c", "a"));
    T(rename("a/b", "c"));
    T(rename("c", "a/b"));
    T(rename("a/.", "z"));
    T(rename("none/x", "z"));
    T(rename("f", "none/x"));
    T(rename("f/", "z"));
    T(rename("f", "z/"));
    T(syscall(SYS_renameat2, AT_FDCWD, "f", AT_FDCWD, "hard2", 1));
    T(syscall(SYS_renameat2, AT_FDCWD, "f", AT_FDCWD, "f9", 1));
    T(syscall(SYS_renameat2, AT_FDCWD, "f9", AT_FDCWD, "f", 0x80));
    T(renameat(44, "f9", AT_FDCWD, "f"));
    T(rename("f9", "f"));
    T(rename("s", "s9"));
    T(lstat("s9", &about));
    SHOW(S_ISLNK(about.st_mode));
    int file = open("open", O_RDWR | O_CREAT, 0600);
    T(write(file, "kept", 4));
    T(unlink("open"));
    T(fstat(file, &about));
    SHOW(about.st_nlink);
    SHOW(about.st_size);
    T(lseek(file, 0, SEEK_SET));
    char text[4];
    T(read(file, text, 4));
    T(close(file));
}

static void rights(void)
{
    T(chmod("f", 0444));
    T(stat("f", &about));
    SHOW(about.st_mode);
    T(chmod("none", 0444));
    T(chmod("f", 07777));
    T(stat("f", &about));
    SHOW(about.st_mode);
    T(fchmodat(AT_FDCWD, "f", 0600, 0));
    int file = open("f", O_RDONLY);
    T(fchmod(file, 0640));
    T(fchmod(-1, 0640));
    T(fstat(file, &about));
    SHOW(about.st_mode);
    SHOW(about.st_uid);
    T(fstat(-1, &about));
    T(chown("f", 0, 0));
    T(chown("f", -1, -1));
    T(chown("none", 0, 0));
    T(lchown("dangling", 0, 0));
    T(fchown(file, 0, 0));
    T(fchown(-1, 0, 0));
    T(access("f", F_OK));
    T(access("f", R_OK | W_OK));
    T(access("f", X_OK));
    T(access("a", X_OK));
    T(access("none", F_OK));
    T(access("f", 99));
    T(access("f/x", F_OK));
    T(faccessat(AT_FDCWD, "dangling", F_OK, 0));
    T(faccessat(AT_FDCWD, "dangling", F_OK, AT_SYMLINK_NOFOLLOW));
    T(faccessat(66, "f", F_OK, 0));
    T(fstatat(AT_FDCWD, "dangling", &about, AT_SYMLINK_NOFOLLOW));
    T(fstatat(file, "", &about, AT_EMPTY_PATH));
    T(fstatat(file, "", &about, 0));
    T(fstatat(file, "x", &about, 0));
    T(fstatat(AT_FDCWD, "f", &about, 0x40000));
    struct timespec times[2] = {{1000, 5}, {2000, 7}};
    T(utimensat(AT_FDCWD, "f", times, 0));
    T(stat("f", &about));
    SHOW(about.st_mtim.tv_sec);
    SHOW(about.st_mtim.tv_nsec);
    times[1].tv_nsec = UTIME_OMIT;
    times[0].tv_nsec = UTIME_OMIT;
    T(utimensat(AT_FDCWD, "f", times, 0));
    times[1].tv_nsec = 2000000000;
    T(utimensat(AT_FDCWD, "f", times, 0));
    T(utimensat(AT_FDCWD, "none", NULL, 0));
    T(futimens(file, NULL));
    T(futimens(-1, NULL));
    struct statx more;
    T(syscall(SYS_statx, AT_FDCWD, "f", 0, STATX_SIZE, &more));
    SHOW(more.stx_mode);
    T(syscall(SYS_statx, AT_FDCWD, "none", 0, STATX_SIZE, &more));
    T(syscall(SYS_statx, AT_FDCWD, "f", 0, STATX_SIZE, NOWHERE));
    T(close(file));
}

static void paths(void)
{
    char text[PATH_MAX];
    T(chdir("a"));
    T(getcwd(text, sizeof text) != NULL);
    SHOW(strcmp(strrchr(text, '/'), "/a"));
    T(getcwd(text, 1) != NULL);
    SHOW(errno);
    T(syscall(SYS_getcwd, text, 1));
    T(syscall(SYS_getcwd, NOWHERE, 100));
    T(stat("../f", &about));
    T(stat("./../a/.././f", &about));
    T(stat("b/../../f", &about));
    T(stat("none/../../f", &about));
    T(stat("../f/..", &about));
    T(stat("//", &about));
    T(stat("/..", &about));
    T(chdir("../f"));
    T(chdir("none"));
    T(chdir(""));
    T(chdir(NOWHERE));
    int file = open("..", O_RDONLY | O_DIRECTORY);
    T(fchdir(file));
    T(fchdir(-1));
    T(stat("f", &about));
    int plain = open("f", O_RDONLY);
    T(fchdir(plain));
    T(close(plain));
    mkdir("gone", 0755);
    T(chdir("gone"));
    T(rmdir("../gone"));
    T(syscall(SYS_getcwd, text, sizeof text));
    T(stat(".", &about));
    T(open("new", O_WRONLY | O_CREAT, 0600));
    T(fchdir(file));
    T(close(file));
    struct statfs system;
    T(statfs("f", &system));
    T(statfs("none", &system));
    T(syscall(SYS_statfs, "f", NOWHERE));
    T(fstatfs(-1, &system));
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void listing(void)
{
    struct dirent **names;
    T(mkdir("list", 0755));
    T(chdir("list"));
    for (int i = 0; i < 30; i++) {
        char name[10];
        sprintf(name, "f%d", i * 7 % 30);
        if (i % 3)
            make(name);
        else
            mkdir(name, 0755);
    }
    T(scandir(".", &names, NULL, by_name));
    SHOW(names[2]->d_type);
    SHOW(names[3]->d_type);
    SHOW(strcmp(names[31]->d_name, "f9"));
    T(scandir("none", &names, NULL, by_name));
    char buffer[400];
    int file = open(".", O_RDONLY);
    T(syscall(SYS_getdents64, file, buffer, 10));
    T(syscall(SYS_getdents64, file, buffer, sizeof buffer) > 0);
    T(syscall(SYS_getdents64, file, NOWHERE, sizeof buffer));
    T(syscall(SYS_getdents64, -1, buffer, sizeof buffer));
    int plain = open("f1", O_RDONLY);
    T(syscall(SYS_getdents64, plain, buffer, sizeof buffer));
    T(close(plain));
    int count = 0;
    DIR *all = opendir(".");
    for (struct dirent *entry; (entry = readdir(all)); count++)
        if (entry->d_name[0] == 'f')
            unlinkat(AT_FDCWD, entry->d_name, entry->d_type == DT_DIR ? AT_REMOVEDIR : 0);
    SHOW(count);
    rewinddir(all);
    count = 0;
    while (readdir(all))
        count++;
    SHOW(count);
    closedir(all);
    T(chdir(".."));
    T(rmdir("list"));
    T(close(file));
}

int main(int count, char **given)
{
    umask(022);
    if (count > 1 && chdir(given[1]))
        return 1;
    directories();
    links();
    renaming();
    rights();
    paths();
    listing();
    return 0;
}
