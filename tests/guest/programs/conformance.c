/*
 * The life cycle on Linux: every call in every state, and what failed on the original, by name.  Prints TAP.
 *
 *     conformance SPIN VALUE FAULT SERVER CALLER
 *
 * SPIN never ends; VALUE writes and returns 7; FAULT touches what it may not; SERVER writes and never returns;
 * CALLER calls the server "spinner".
 */
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include "device.h"

static const char *spin, *hello, *fault, *server, *caller;

/* ---- what tests say ---- */

static int count, failures;
static char failed[256];

static void report(const char *name)
{
    count++;
    failures += *failed != 0;
    printf("%s %d %s%s%s\n", *failed ? "not ok" : "ok", count, name, *failed ? " # " : "", failed);
    *failed = 0;
}

static void expect(long found, long wanted, const char *what)
{
    if (found != wanted && !*failed)
        snprintf(failed, sizeof failed, "%s: %ld, not %ld", what, found, wanted);
}
#define EXPECT(call, wanted) expect(call, wanted, #call)

/* ---- scenes ---- */

enum state { FRESH, RUNNING, OCALL, STOPPED, EXITED, DESTROYED, UNKNOWN, IDLE, TEMPLATE, STATES };
static const char *const state_names[] = {"FRESH",     "RUNNING", "OCALL",  "STOPPED", "EXITED",
                                          "DESTROYED", "unknown", "server", "shadow"};

struct scene {
    unsigned long eid;
    struct running *run;
    int stdout_before, blocked;
};

static long stop_when_running(unsigned long eid)
{
    long result;
    while ((result = on(STOP, eid)) == -EFAULT)
        sched_yield();
    return result;
}

static struct running *start_spinning(struct user_param param)
{
    struct running *run = start(param);
    if (stop_when_running(param.eid) || on(RESUME, param.eid))
        die("start");
    return run;
}

/* Standard output becomes a pipe that takes nothing any more: an enclave that writes waits in its ocall. */
static void block_stdout(struct scene *scene)
{
    int ends[2];
    char fill[4096] = {0};
    fflush(stdout);
    scene->stdout_before = dup(1);
    if (pipe(ends))
        die("pipe");
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    while (write(ends[1], fill, sizeof fill) > 0)
        ;
    fcntl(ends[1], F_SETFL, 0);
    dup2(ends[1], 1);
    close(ends[1]);
    scene->blocked = ends[0];
}

static void unblock_stdout(struct scene *scene)
{
    char drain[65536];
    if (!scene->stdout_before)
        return;
    if (read(scene->blocked, drain, sizeof drain) < 0)
        die("read");
    dup2(scene->stdout_before, 1);
    close(scene->stdout_before);
    scene->stdout_before = 0; /* the other end stays open: a write may be under way */
}

static struct scene bring(enum state state)
{
    struct scene scene = {0};
    struct user_param param = {0};
    long result;
    switch (state) {
    case FRESH:
        scene.eid = make(spin, NORMAL, "spin").eid;
        break;
    case RUNNING:
    case STOPPED:
        param = make(spin, NORMAL, "spin");
        scene.run = start_spinning(param);
        scene.eid = param.eid;
        if (state == STOPPED)
            EXPECT(on(STOP, scene.eid), 0);
        break;
    case OCALL:
        block_stdout(&scene);
        param = make(hello, NORMAL, "hello");
        scene.eid = param.eid;
        scene.run = start(param);
        await_sleep(scene.run, "pipe_write");
        break;
    case EXITED:
        param = make(hello, NORMAL, "hello");
        scene.eid = param.eid;
        finish(start(param), &result);
        break;
    case DESTROYED:
        scene.eid = make(spin, NORMAL, "spin").eid;
        EXPECT(on(DESTROY, scene.eid), 0);
        break;
    case UNKNOWN:
        scene.eid = 0x7ffffff;
        break;
    case IDLE:
        scene.eid = make(spin, SERVER, "scene").eid;
        break;
    default:
        scene.eid = make(spin, SHADOW, "shadow").eid;
    }
    return scene;
}

static void leave(struct scene *scene)
{
    long result;
    on(DESTROY, scene->eid);
    if (scene->run)
        finish(scene->run, &result); /* also out of a write that nobody reads */
    unblock_stdout(scene);
}

/* ---- the table ---- */

enum { E_STATE = -EFAULT, E_GONE = -EINVAL };

static const struct {
    enum state state;
    long run, stop, resume, destroy, attest; /* 1: not to be tried here */
} table[] = {
    {FRESH, 1, E_STATE, E_STATE, 0, 0},
    {RUNNING, E_STATE, 0, E_STATE, 0, E_STATE},
    {OCALL, E_STATE, 0, E_STATE, 0, E_STATE},
    {STOPPED, E_STATE, 0, 0, 0, 0},
    {EXITED, E_GONE, E_GONE, E_GONE, E_GONE, E_GONE},
    {DESTROYED, E_GONE, E_GONE, E_GONE, E_GONE, E_GONE},
    {UNKNOWN, E_GONE, E_GONE, E_GONE, E_GONE, E_GONE},
    {IDLE, E_STATE, E_STATE, E_STATE, 0, 0},
    {TEMPLATE, 1, E_STATE, E_STATE, 0, 0},
};

static void try(enum state state, const char *name, unsigned long request, long wanted)
{
    char title[64];
    struct scene scene;
    if (wanted == 1)
        return;
    scene = bring(state);
    expect(request == ATTEST ? attest(scene.eid, NULL) : on(request, scene.eid), wanted, name);
    leave(&scene);
    snprintf(title, sizeof title, "%s of %s", name, state_names[state]);
    report(title);
}

static void every_call_in_every_state(void)
{
    for (unsigned i = 0; i < sizeof table / sizeof *table; i++) {
        try(table[i].state, "run", RUN, table[i].run);
        try(table[i].state, "stop", STOP, table[i].stop);
        try(table[i].state, "resume", RESUME, table[i].resume);
        try(table[i].state, "destroy", DESTROY, table[i].destroy);
        try(table[i].state, "attest", ATTEST, table[i].attest);
    }
}

/* ---- meaning ---- */

static void run_returns_the_value(void)
{
    long result;
    struct user_param param = finish(start(make(hello, NORMAL, "hello")), &result);
    EXPECT(result, 0);
    EXPECT((long)param.retval, 7);
    report("run returns the enclave's value");
}

static void a_fault_is_an_error_of_run(void)
{
    long result;
    struct user_param param = finish(start(make(fault, NORMAL, "fault")), &result);
    EXPECT(result, -EFAULT);
    EXPECT((long)param.retval, 0);
    EXPECT(on(STOP, param.eid), E_GONE);
    report("a fault of the enclave is an error of run, and the enclave is gone");
}

static void run_returns_0_after_a_destroy(void)
{
    long result;
    struct user_param param = make(spin, NORMAL, "spin");
    struct running *run;
    param.retval = 0xdeadbeef;
    run = start_spinning(param);
    EXPECT(on(DESTROY, param.eid), 0);
    param = finish(run, &result);
    EXPECT(result, 0);
    EXPECT((long)param.retval, 0);
    report("run returns 0 after a destroy, and no value");
}

static void one_resume_suffices_after_two_stops(void)
{
    struct scene scene = bring(STOPPED);
    EXPECT(on(STOP, scene.eid), 0);
    EXPECT(on(RESUME, scene.eid), 0);
    EXPECT(on(RESUME, scene.eid), E_STATE);
    leave(&scene);
    report("one resume suffices after two stops");
}

static void stopped_in_an_ocall_it_keeps_the_result(void)
{
    long result;
    struct scene scene = bring(OCALL);
    struct user_param param;
    EXPECT(on(STOP, scene.eid), 0);
    unblock_stdout(&scene);
    EXPECT(attest(scene.eid, NULL), 0);
    EXPECT(on(RESUME, scene.eid), 0);
    param = finish(scene.run, &result);
    EXPECT(result, 0);
    EXPECT((long)param.retval, 7);
    report("stopped in an ocall, it keeps the result for the resume");
}

static void a_shadow_makes_instances(void)
{
    struct user_param shadow = make(hello, SHADOW, "shadow"), instance;
    long result;
    for (int i = 0; i < 3; i++) {
        instance = finish(start(shadow), &result);
        EXPECT(result, 0);
        EXPECT((long)instance.retval, 7);
        EXPECT(instance.shadow, 1);
        expect(instance.eid != shadow.eid, 1, "an eid of its own");
    }
    EXPECT(on(DESTROY, shadow.eid), 0);
    report("a shadow makes instances, which have eids of their own");
}

static void an_instance_is_stopped_resumed_and_destroyed(void)
{
    struct user_param shadow = make(spin, SHADOW, "shadow");
    struct running *run = start(shadow);
    volatile unsigned long *eid = &run->param.eid; /* filled in as soon as there is an instance */
    long result;
    while (*eid == shadow.eid)
        sched_yield();
    EXPECT(stop_when_running(*eid), 0);
    EXPECT(attest(*eid, NULL), 0);
    EXPECT(on(RESUME, *eid), 0);
    EXPECT(on(DESTROY, shadow.eid), 0);
    EXPECT(on(STOP, *eid), 0);
    EXPECT(on(DESTROY, *eid), 0);
    finish(run, &result);
    EXPECT(result, 0);
    report("an instance is stopped, resumed and destroyed, also after its template");
}

static void others_have_no_such_enclave(void)
{
    struct scene scene = bring(RUNNING);
    pid_t child = fork();
    int status;
    if (!child) {
        EXPECT(on(STOP, scene.eid), E_GONE);
        EXPECT(on(RESUME, scene.eid), E_GONE);
        EXPECT(on(DESTROY, scene.eid), E_GONE);
        EXPECT(on(RUN, scene.eid), E_GONE);
        EXPECT(attest(scene.eid, NULL), E_GONE);
        _exit(*failed != 0);
    }
    waitpid(child, &status, 0);
    EXPECT(status, 0);
    EXPECT(on(STOP, scene.eid), 0);
    leave(&scene);
    report("for another process there is no such enclave, also with the same file open");
}

/* ---- what failed on the original ---- */

static void still_alive(void)
{
    long result;
    struct user_param param = finish(start(make(hello, NORMAL, "hello")), &result);
    EXPECT(result, 0);
    EXPECT((long)param.retval, 7);
}

static void a_refused_stop_blocks_nothing(void)
{
    static const enum state states[] = {FRESH, IDLE, TEMPLATE, EXITED};
    for (unsigned i = 0; i < 4; i++) {
        struct scene scene = bring(states[i]);
        expect(on(STOP, scene.eid) < 0, 1, "refused");
        still_alive();
        leave(&scene);
    }
    report("after a refused stop the next call of the monitor returns");
}

static void a_stop_of_a_template_stops_no_other(void)
{
    struct scene scene = bring(RUNNING), shadow = bring(TEMPLATE);
    EXPECT(on(STOP, shadow.eid), E_STATE);
    EXPECT(on(RESUME, scene.eid), E_STATE); /* it runs */
    leave(&shadow);
    leave(&scene);
    report("a stop of a template stops no other enclave");
}

static void wrong_resumes_break_nothing(void)
{
    static const enum state states[] = {FRESH, RUNNING, IDLE, TEMPLATE};
    for (unsigned i = 0; i < 4; i++) {
        struct scene scene = bring(states[i]);
        EXPECT(on(RESUME, scene.eid), E_STATE);
        still_alive();
        leave(&scene);
    }
    report("wrong resumes break nothing");
}

static void attesting_a_stopped_enclave_breaks_no_run(void)
{
    for (int i = 0; i < 5; i++) {
        struct scene scene = bring(STOPPED);
        long result;
        EXPECT(attest(scene.eid, NULL), 0);
        EXPECT(on(RESUME, scene.eid), 0);
        EXPECT(on(STOP, scene.eid), 0);
        EXPECT(on(DESTROY, scene.eid), 0);
        finish(scene.run, &result);
        EXPECT(result, 0);
    }
    report("attesting a stopped enclave breaks no run");
}

static void running_twice_or_running_a_server_breaks_nothing(void)
{
    struct scene scene = bring(RUNNING), other = bring(IDLE);
    EXPECT(on(RUN, scene.eid), E_STATE);
    EXPECT(on(RUN, other.eid), E_STATE);
    leave(&scene);
    leave(&other);
    still_alive();
    report("running twice, or running a server, breaks nothing");
}

static void a_caller_inside_a_server(void)
{
    struct user_param spinner = make(server, SERVER, "spinner"), param = make(caller, NORMAL, "caller");
    int ends[2], before = dup(1);
    struct running *run;
    char line[16];
    long result;
    fflush(stdout);
    if (pipe(ends))
        die("pipe");
    dup2(ends[1], 1);
    run = start(param);
    if (read(ends[0], line, sizeof line) <= 0) /* the server's word that it is at work */
        die("read");
    dup2(before, 1);
    EXPECT(on(DESTROY, spinner.eid), E_STATE);
    EXPECT(on(STOP, param.eid), 0);
    EXPECT(on(DESTROY, spinner.eid), E_STATE);
    EXPECT(on(RESUME, param.eid), 0);
    EXPECT(on(STOP, param.eid), 0);
    EXPECT(on(DESTROY, param.eid), 0);
    finish(run, &result);
    EXPECT(result, 0);
    EXPECT(on(DESTROY, spinner.eid), 0);
    still_alive();
    report("a caller inside a server is stopped, resumed and destroyed, and the server with it");
}

static void create_and_destroy_500_times(void)
{
    for (int i = 0; i < 500 && !*failed; i++)
        EXPECT(on(DESTROY, make(hello, NORMAL, "hello").eid), 0);
    report("500 enclaves are created and destroyed");
}

static void what_is_no_enclave_is_refused(void)
{
    struct user_param param = {.elf = "\x7f"
                                      "ELF, or not",
                               .elf_size = 12,
                               .stack_size = 4096};
    EXPECT(call(CREATE, &param), -EINVAL);
    param.elf = (void *)8;
    EXPECT(call(CREATE, &param), -EFAULT);
    param.elf_size = -1;
    EXPECT(call(CREATE, &param), -EINVAL);
    param.elf_size = 1L << 40;
    EXPECT(call(CREATE, &param), -ENOMEM);
    param.type = 3;
    EXPECT(call(CREATE, &param), -EINVAL);
    EXPECT(call(CREATE, (void *)8), -EFAULT);
    EXPECT(call(0x8070a4ff, &param), -ENOTTY);
    report("what is no enclave is refused, with the reason");
}

static void servers_have_names_and_no_two_the_same(void)
{
    struct user_param first = make(spin, SERVER, "unique"), second = first;
    struct stat status;
    int fd = open(spin, O_RDONLY);
    fstat(fd, &status);
    second.elf_size = status.st_size;
    second.elf = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    EXPECT(call(CREATE, &second), -EEXIST);
    *second.name = 0;
    EXPECT(call(CREATE, &second), -EINVAL);
    memset(second.name, 'x', sizeof second.name); /* no NUL: it is cut */
    EXPECT(call(CREATE, &second), 0);
    EXPECT(on(DESTROY, second.eid), 0);
    EXPECT(on(DESTROY, first.eid), 0);
    report("servers have names, and no two the same");
}

/* ---- signals ---- */

static volatile int signals;

static void on_signal(int number)
{
    (void)number;
    signals++;
}

static void a_signal_does_not_end_a_run(void)
{
    struct sigaction action = {.sa_handler = on_signal}; /* without SA_RESTART */
    struct user_param param = make(spin, NORMAL, "spin");
    struct running *run;
    long result;
    sigaction(SIGUSR1, &action, NULL);
    run = start_spinning(param);
    for (int i = 1; i <= 20; i++) {
        pthread_kill(run->thread, SIGUSR1);
        while (signals < i)
            sched_yield();
        EXPECT(on(STOP, param.eid), 0);
        EXPECT(on(RESUME, param.eid), 0);
    }
    EXPECT(run->result, 12345);
    EXPECT(on(DESTROY, param.eid), 0);
    finish(run, &result);
    EXPECT(result, 0);
    report("handlers of signals run, and the run goes on");
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: conformance SPIN VALUE FAULT SERVER CALLER\n");
        return 2;
    }
    spin = argv[1], hello = argv[2], fault = argv[3], server = argv[4], caller = argv[5];
    setvbuf(stdout, NULL, _IOLBF, 0);
    device_open();
    every_call_in_every_state();
    run_returns_the_value();
    a_fault_is_an_error_of_run();
    run_returns_0_after_a_destroy();
    one_resume_suffices_after_two_stops();
    stopped_in_an_ocall_it_keeps_the_result();
    a_shadow_makes_instances();
    an_instance_is_stopped_resumed_and_destroyed();
    others_have_no_such_enclave();
    a_refused_stop_blocks_nothing();
    a_stop_of_a_template_stops_no_other();
    wrong_resumes_break_nothing();
    attesting_a_stopped_enclave_breaks_no_run();
    running_twice_or_running_a_server_breaks_nothing();
    a_caller_inside_a_server();
    create_and_destroy_500_times();
    what_is_no_enclave_is_refused();
    servers_have_names_and_no_two_the_same();
    a_signal_does_not_end_a_run();
    printf("1..%d\n", count);
    return failures != 0;
}
