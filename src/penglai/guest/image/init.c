/*
 * The first process: file systems, then a shell on the console, or the commands that the machine was started for.
 *
 * It is no shell script because of what only the first process can do: give a program a terminal of its own, reap
 * whoever lost its parent, and hear of poweroff and reboot while a shell runs.
 */
#include <fcntl.h>
#include <glob.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

/* The register through which a program ends the machine, of the "sifive,test" device. */
#define FINISHER 0x100000
#define FINISHER_PASS 0x5555
#define FINISHER_FAIL 0x3333

/* What penglai boot puts into the ramfs. */
#define RUN_FILE "/etc/penglai/run"
#define PLAIN_FILE "/etc/penglai/plain"

/* The tag of the directory that is mounted here.  Nothing of it is cached but what is mapped, for as long as it is. */
#define SHARE "share"
#define DISK "persistencty_file"
#define SHARE_OPTIONS "trans=virtio,version=9p2000.L,msize=131072,cache=mmap"

/* Tells a console that is not a terminal that input is accepted from now on, and is not echoed. */
#define READY '\x1e'

static char console[64] = "/dev/console";

static void say(const char *what)
{
    perror(what);
}

/* ---- the system ---- */

static void mount_at(const char *what, const char *where, const char *type, const char *options)
{
    mkdir(where, 0755);
    if (mount(what, where, type, 0, options))
        say(where);
}

static int is_share(const char *tag_file)
{
    char tag[sizeof SHARE + 1] = {0};
    int fd = open(tag_file, O_RDONLY);
    int size = read(fd, tag, sizeof tag);
    close(fd);
    return size > 0 && !strncmp(tag, SHARE, sizeof tag);
}

/* The directory of the machine's user, if it was started with one. */
static void mount_share(void)
{
    glob_t tags;
    if (!glob("/sys/bus/virtio/devices/*/mount_tag", 0, NULL, &tags))
        for (size_t i = 0; i < tags.gl_pathc; i++)
            if (is_share(tags.gl_pathv[i]))
                mount_at(SHARE, "/" SHARE, "9p", SHARE_OPTIONS);
    globfree(&tags);
}

/*
 * The sectors of enclaves are kept in this file, by penglai.ko.  It outlives the machine if the user's directory
 * has one of that name.
 */
static void place_disk(void)
{
    mkdir("/mnt", 0755);
    if (!access("/" SHARE "/" DISK, F_OK) && symlink("/" SHARE "/" DISK, "/mnt/" DISK))
        say("/mnt/" DISK);
}

static void loopback_up(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request))
        say("lo");
    close(fd);
}

/* The terminal behind /dev/console, which itself can be nobody's controlling terminal. */
static void find_console(void)
{
    char line[256], *name;
    FILE *file = fopen("/sys/class/tty/console/active", "r");
    if (!file)
        return;
    if (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        name = strrchr(line, ' ');
        snprintf(console, sizeof console, "/dev/%s", name ? name + 1 : line);
    }
    fclose(file);
}

static void make_plain(void)
{
    struct termios settings;
    int fd = open(console, O_RDWR | O_NOCTTY);
    char ready = READY;
    if (fd < 0 || tcgetattr(fd, &settings)) {
        say(console);
        return;
    }
    settings.c_oflag &= ~(tcflag_t)OPOST;
    settings.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(fd, TCSANOW, &settings);
    if (write(fd, &ready, 1) != 1)
        say(console);
    close(fd);
}

static void set_up(void)
{
    mount_at("dev", "/dev", "devtmpfs", NULL);
    mount_at("proc", "/proc", "proc", NULL);
    mount_at("sys", "/sys", "sysfs", NULL);
    mount_at("pts", "/dev/pts", "devpts", NULL);
    mount_share();
    place_disk();
    sethostname("penglai", 7);
    loopback_up();
    find_console();
    if (!access(PLAIN_FILE, F_OK))
        make_plain();
}

/* ---- the way out ---- */

static void power(int how)
{
    sync();
    reboot(how);
    for (;;)
        pause();
}

/* Ends the machine with a status, as waitpid() has it. */
static void finish(int status)
{
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    int fd = open("/dev/mem", O_RDWR | O_SYNC);
    volatile unsigned *finisher = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, FINISHER);
    sync();
    if (fd >= 0 && finisher != MAP_FAILED)
        *finisher = code ? (unsigned)code << 16 | FINISHER_FAIL : FINISHER_PASS;
    say("cannot tell the machine how it ended");
    power(RB_POWER_OFF);
}

/* ---- programs ---- */

/* Runs a program on the console, in a session of its own. */
static pid_t spawn(char *const arguments[])
{
    pid_t child = fork();
    sigset_t none;
    int fd;
    if (child)
        return child;
    setsid();
    fd = open(console, O_RDWR);
    ioctl(fd, TIOCSCTTY, 0);
    for (int i = 0; i <= 2; i++)
        dup2(fd, i);
    if (fd > 2)
        close(fd);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execv(arguments[0], arguments);
    say(arguments[0]);
    _exit(127);
}

/* Reaps until the program ends; its status. */
static int await(pid_t child, const sigset_t *signals)
{
    for (;;) {
        int status, number = sigwaitinfo(signals, NULL);
        pid_t ended;
        if (number == SIGTERM)
            power(RB_AUTOBOOT);
        if (number == SIGUSR1 || number == SIGUSR2)
            power(RB_POWER_OFF);
        while ((ended = waitpid(-1, &status, WNOHANG)) > 0)
            if (ended == child)
                return status;
    }
}

int main(void)
{
    static char *const run[] = {"/bin/sh", RUN_FILE, NULL};
    static char *const shell[] = {"/bin/sh", "-l", NULL};
    sigset_t signals;
    int commands, status;

    sigemptyset(&signals);
    for (const int *number = (const int[]){SIGCHLD, SIGTERM, SIGUSR1, SIGUSR2, 0}; *number; number++)
        sigaddset(&signals, *number);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    set_up();
    setenv("PATH", "/sbin:/usr/sbin:/bin:/usr/bin:/", 1);
    setenv("HOME", "/", 1);
    setenv("USER", "root", 1);
    if (chdir("/"))
        say("/");
    commands = !access(RUN_FILE, F_OK);
    status = await(spawn(commands ? run : shell), &signals);
    if (commands)
        finish(status);
    power(RB_POWER_OFF);
}
