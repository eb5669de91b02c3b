/* Descriptors: opening, closing, doubling, positions, flags. */
#include "cases.h"
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

static char text[70000];

static void opening(void)
{
    T(open("none", O_RDONLY));
    T(open("", O_RDONLY));
    T(open(NOWHERE, O_RDONLY));
    T(open("a", O_RDWR | O_CREAT | O_EXCL, 0640));
    T(open("a", O_RDWR | O_CREAT | O_EXCL, 0640));
    T(open("a", O_RDONLY | O_DIRECTORY));
    T(open("a/", O_RDONLY));
    T(open("a/b", O_RDONLY));
    T(open(".", O_WRONLY));
    T(open(".", O_RDWR | O_CREAT, 0600));
    T(open("d/", O_RDWR | O_CREAT, 0600));
    T(open(".", O_RDONLY | O_DIRECTORY));
    T(openat(4, "a", O_RDONLY));
    T(openat(3, "a", O_RDONLY));
    T(openat(77, "a", O_RDONLY));
    T(openat(AT_FDCWD, "a", O_PATH));
    T(close(6));
    T(close(6));
    T(close(5));
    T(close(4));
    T(close(-1));
    T(close(100000));
    T(symlink("a", "l"));
    T(open("l", O_RDONLY | O_NOFOLLOW));
    T(open("l", O_PATH | O_NOFOLLOW));
    T(close(4));
    T(symlink("loop", "loop"));
    T(open("loop", O_RDONLY));
    memset(text, 'n', 300);
    text[300] = 0;
    T(open(text, O_RDONLY));
    memset(text, '/', 5000);
    text[5000] = 0;
    T(open(text, O_RDONLY));
}

static void moving(void)
{
    char back[16] = "";
    int file = open("m", O_RDWR | O_CREAT | O_TRUNC, 0600);
    T(write(file, "0123456789", 10));
    T(write(file, "0123456789", 0));
    T(write(file, NOWHERE, 3));
    T(write(file, NOWHERE, 0));
    T(read(file, back, 4));
    T(lseek(file, 2, SEEK_SET));
    T(read(file, back, 4));
    SHOW(back[0]);
    T(lseek(file, 0, SEEK_CUR));
    T(lseek(file, -3, SEEK_END));
    T(lseek(file, -30, SEEK_END));
    T(lseek(file, 0, 99));
    T(lseek(file, 100, SEEK_SET));
    T(read(file, back, 4));
    T(write(file, "x", 1));
    T(lseek(file, 0, SEEK_END));
    T(lseek(file, 3, SEEK_DATA));
    T(lseek(file, 500, SEEK_DATA));
    T(lseek(file, 500, SEEK_HOLE));
    T(lseek(-1, 0, SEEK_SET));
    T(pread(file, back, 4, 8));
    SHOW(back[1]);
    SHOW(back[2]);
    T(pread(file, back, 4, -1));
    T(pwrite(file, back, 4, -1));
    T(pread(file, NOWHERE, 4, 0));
    T(pread(file, back, 4, 1000));
    T(pwrite(file, "yz", 2, 200));
    T(lseek(file, 0, SEEK_END));
    T(ftruncate(file, 5));
    T(ftruncate(file, -1));
    T(lseek(file, 0, SEEK_END));
    T(ftruncate(file, 50));
    T(pread(file, back, 4, 40));
    SHOW(back[0]);
    T(truncate("m", 7));
    T(truncate("none", 7));
    T(truncate(".", 7));
    T(truncate("m", -7));
    T(posix_fallocate(file, 0, 60));
    T(posix_fallocate(file, 0, 0));
    T(posix_fallocate(file, -1, 5));
    T(fallocate(file, 0, 10, 0));
    T(lseek(file, 0, SEEK_END));
    T(fsync(file));
    T(fdatasync(file));
    T(fsync(-1));
    T(close(file));
    file = open("m", O_WRONLY | O_APPEND);
    T(read(file, back, 4));
    T(lseek(file, 0, SEEK_SET));
    T(write(file, "end", 3));
    T(lseek(file, 0, SEEK_CUR));
    T(pread(file, back, 1, 0));
    T(close(file));
    file = open("m", O_RDONLY);
    T(write(file, "x", 1));
    T(pwrite(file, "x", 1, 0));
    T(ftruncate(file, 0));
    T(close(file));
    T(read(-1, back, 1));
    T(write(99, back, 1));
    file = open(".", O_RDONLY);
    T(read(file, back, 1));
    T(write(file, back, 1));
    T(ftruncate(file, 0));
    T(close(file));
    file = open("m", O_PATH);
    T(read(file, back, 1));
    T(write(file, back, 1));
    T(lseek(file, 0, SEEK_SET));
    T(syscall(SYS_fchmod, file, 0600));
    T(close(file));
}

static void pieces(void)
{
    char one[4] = "abc", two[8] = "defghij";
    struct iovec both[2] = {{one, 3}, {two, 7}}, none[1] = {{NOWHERE, 5}},
                 large[2] = {{one, 3}, {two, LONG_MAX}};
    int file = open("v", O_RDWR | O_CREAT | O_TRUNC, 0600);
    T(writev(file, both, 2));
    T(writev(file, both, 0));
    T(writev(file, both, -1));
    T(writev(file, both, 2000));
    T(writev(file, none, 1));
    T(writev(file, NOWHERE, 1));
    T(writev(file, large, 2));
    T(pwritev(file, both, 1, 20));
    T(pwritev(file, both, 1, -20));
    T(lseek(file, 0, SEEK_SET));
    T(readv(file, both, 2));
    T(readv(file, both, 2));
    T(readv(file, both, 2));
    T(preadv(file, both, 2, 19));
    SHOW(one[0]);
    SHOW(one[1]);
    T(preadv(file, none, 1, 0));
    T(preadv(-1, both, 2, 0));
    int other = open("w", O_RDWR | O_CREAT | O_TRUNC, 0600);
    off_t at = 5;
    T(sendfile(other, file, &at, 100));
    SHOW(at);
    T(sendfile(other, file, NULL, 100));
    T(sendfile(-1, file, NULL, 100));
    T(sendfile(other, -1, NULL, 100));
    T(copy_file_range(file, &at, other, NULL, 4, 0));
    at = 0;
    T(copy_file_range(file, &at, other, NULL, 4, 0));
    T(copy_file_range(file, &at, other, NULL, 4, 1));
    T(lseek(other, 0, SEEK_END));
    T(close(file));
    T(close(other));
}

static void doubling(void)
{
    int file = open("d0", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    SHOW(file);
    T(dup(file));
    T(dup(-1));
    T(dup2(file, 9));
    T(dup2(file, file));
    T(dup2(-1, 9));
    T(dup2(file, -1));
    T(dup2(file, 1 << 30));
    T(dup3(file, file, 0));
    T(dup3(file, 10, O_CLOEXEC));
    T(dup3(file, 10, O_APPEND));
    T(fcntl(file, F_GETFD));
    T(fcntl(9, F_GETFD));
    T(fcntl(10, F_GETFD));
    T(fcntl(9, F_SETFD, FD_CLOEXEC));
    T(fcntl(9, F_GETFD));
    T(fcntl(file, F_DUPFD, 20));
    T(fcntl(file, F_DUPFD, 20));
    T(fcntl(file, F_DUPFD_CLOEXEC, 0));
    T(fcntl(file, F_DUPFD, -1));
    T(fcntl(file, F_DUPFD, 1 << 30));
    T(fcntl(file, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
    T(fcntl(file, F_SETFL, O_APPEND | O_NONBLOCK | O_CREAT));
    T(fcntl(9, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK | O_CREAT));
    T(fcntl(file, 12345));
    T(fcntl(-1, F_GETFD));
    T(write(file, "abc", 3));
    T(lseek(9, 0, SEEK_CUR));
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    T(fcntl(file, F_SETLK, &lock));
    T(fcntl(file, F_GETLK, &lock));
    SHOW(lock.l_type == F_UNLCK);
    lock.l_type = 77;
    T(fcntl(file, F_SETLK, &lock));
    T(fcntl(file, F_SETLK, NOWHERE));
    int other = open("d0", O_RDWR);
    T(flock(file, LOCK_EX));
    T(flock(other, LOCK_EX | LOCK_NB));
    T(flock(file, LOCK_SH));
    T(flock(other, LOCK_SH | LOCK_NB));
    T(flock(other, LOCK_EX | LOCK_NB));
    T(flock(file, LOCK_UN));
    T(flock(file, 64));
    T(flock(-1, LOCK_SH));
    int bytes = 0;
    T(ioctl(file, FIONREAD, &bytes));
    T(ioctl(file, TIOCGWINSZ, &bytes));
    T(ioctl(-1, FIONREAD, &bytes));
    T(isatty(file));
    T(syscall(SYS_close_range, 9, 30, 0));
    T(fcntl(20, F_GETFD));
    T(syscall(SYS_close_range, 30, 9, 0));
    T(posix_fadvise(file, 0, 0, POSIX_FADV_WILLNEED));
    T(posix_fadvise(file, 0, 0, 99));
    T(posix_fadvise(-1, 0, 0, 0));
}

static void devices(void)
{
    int file = open("/dev/null", O_RDWR);
    T(write(file, text, 1000));
    T(read(file, text, 1000));
    T(lseek(file, 5, SEEK_SET));
    T(close(file));
    file = open("/dev/zero", O_RDWR);
    T(read(file, text, 1000));
    SHOW(text[999]);
    T(write(file, text, 10));
    T(read(file, NOWHERE, 10));
    T(close(file));
    file = open("/dev/full", O_RDWR);
    T(write(file, text, 10));
    T(read(file, text, 10));
    T(close(file));
    file = open("/dev/urandom", O_RDONLY);
    T(read(file, text, 100));
    T(close(file));
    T(getentropy(text, 256));
    T(getentropy(text, 257));
    T(syscall(SYS_getrandom, text, 10, 0));
    T(syscall(SYS_getrandom, text, 10, 77));
    T(syscall(SYS_getrandom, NOWHERE, 10, 0));
}

int main(int count, char **given)
{
    if (count > 1 && chdir(given[1]))
        return 1;
    opening();
    moving();
    pieces();
    doubling();
    devices();
    return 0;
}
