"""Host programs in C: they compile, speak the ABI, and do what they say.

Linux is not needed: programs are also compiled for the machine that the tests run on, and linked with
FAKE_DEVICE, a few enclaves without a monitor that are in the states of the life-cycle table.
"""

import ctypes
import os
import platform
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from tests.support.waiting import PATIENCE

import penglai
from penglai.abi import ioctl, report
from penglai.sdk import hostbuild
from penglai.sdk.hostbuild import build_host, build_host_demo, host_demo_source, host_demos
from penglai.toolchain.cache import compile_cached
from penglai.toolchain.compiler import compile_c

DEMOS = ["attest", "fork-host", "host", "shadow", "test-caller", "test-stop"]

REQUESTS = {
    "CREATE": 0x8070A400,
    "RUN": 0x8070A401,
    "ATTEST": 0x8158A402,
    "STOP": 0x8070A403,
    "RESUME": 0x8070A404,
    "DESTROY": 0x4070A405,
    "DEBUG_PRINT": 0x4070A406,
    "SHMGET": 0x8018A410,
    "SHMAT": 0x8020A411,
    "SHMDT": 0x8018A412,
    "SHMCTL": 0x8004A413,
    "SCHRODINGER_GET": 0x8018A414,
    "SCHRODINGER_AT": 0x8020A415,
    "SCHRODINGER_DT": 0x8018A416,
    "SCHRODINGER_CTL": 0x8004A417,
    "PERSISTENCY_INIT": 0x8004A418,
}

STRUCTS: list[tuple[str, type[ctypes.Structure], dict[str, str]]] = [
    ("user_param", ioctl.UserParam, {}),
    ("attest_param", ioctl.AttestParam, {}),
    ("report_t", report.ReportLayout, {"monitor": "sm", "device_key": "dev_pub_key"}),
    ("sm_report_t", report.MonitorPart, {"public_key": "sm_pub_key"}),
    ("enclave_report_t", report.EnclavePart, {}),
]
"""C's name of each struct, and those of its fields that are not Python's."""

# The fake's programs, by the entry point of their ELFs, and what they return.
SUMS, RELAYS, LOOPS, FAULTS, CALLS = range(5)
SUM_OF_A_PAGE = 512 * 513 // 2


FAKE_DEVICE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "penglai-enclave.h"

enum program { SUMS, RELAYS, LOOPS, FAULTS, CALLS };
enum state { FRESH, RUNNING, STOPPED, WAITING, GONE };

struct enclave { enum state state; unsigned type; enum program program; char name[16]; unsigned long sum; };
struct memory { int fd, known, mapped; unsigned long size; };

static struct enclave enclaves[200];
static struct memory memories[400];
static int last_eid, last_id;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static int refuse(int reason) { errno = reason; return -1; }

/* What the test wants the device to do wrong. */
static int broken(const char *what)
{
    const char *asked = getenv("FAKE_BREAKS");
    return asked && !strcmp(asked, what);
}

static struct enclave *find(unsigned long eid)
{
    if (eid < 1 || eid > (unsigned long)last_eid || enclaves[eid].state == GONE)
        return NULL;
    return &enclaves[eid];
}

static unsigned long servers_in_a_row(void)
{
    char name[16] = "test-server";
    for (unsigned long count = 0;; count++) {
        int found = 0;
        if (count)
            sprintf(name, "test-server%lu", count);
        for (int eid = 1; eid <= last_eid; eid++)
            found |= find(eid) && enclaves[eid].type == SERVER_ENCLAVE && !strcmp(enclaves[eid].name, name);
        if (!found)
            return count;
    }
}

static int create(struct user_param *param)
{
    if (broken("create"))
        return refuse(ENOMEM);
    struct enclave *enclave = &enclaves[++last_eid];
    enclave->type = param->type;
    enclave->program = *(unsigned long *)(param->elf_ptr + 24);
    memcpy(enclave->name, param->name, sizeof enclave->name);
    param->eid = last_eid;
    return 0;
}

/* Adds up the relay pages, which the host must not have any more. */
static int take_pages(struct enclave *enclave, const struct user_param *param)
{
    unsigned long numbers[512];
    struct memory *memory = &memories[param->schrodinger_id];
    if (!param->schrodinger_id)
        return 0;
    if (!memory->known || memory->mapped)
        return -1;
    if (param->schrodinger_offset || param->schrodinger_size != sizeof numbers)
        return -1;
    if (pread(memory->fd, numbers, sizeof numbers, 0) != sizeof numbers)
        return -1;
    for (int i = 0; i < 512; i++)
        enclave->sum += numbers[i];
    return 0;
}

static int execute(struct enclave *enclave, struct user_param *param, int rerun)
{
    if (enclave->program == FAULTS || broken("run")) {
        enclave->state = GONE;
        return refuse(EFAULT);
    }
    if (enclave->program == RELAYS && !rerun) {
        enclave->state = WAITING;
        return RETURN_USER_RELAY_PAGE;
    }
    while (enclave->program == LOOPS && enclave->state != GONE)
        pthread_cond_wait(&changed, &lock);
    enclave->state = GONE;
    param->retval = enclave->program == CALLS ? servers_in_a_row() : enclave->sum;
    return 0;
}

static int run(struct user_param *param)
{
    struct enclave *enclave = find(param->eid);
    int rerun = param->rerun_reason == RETURN_USER_RELAY_PAGE;
    if (!enclave)
        return refuse(EINVAL);
    if (enclave->type == SERVER_ENCLAVE || enclave->state != (rerun ? WAITING : FRESH))
        return refuse(EFAULT);
    if (enclave->type == SHADOW_ENCLAVE) {
        enclaves[++last_eid] = *enclave;
        enclave = &enclaves[last_eid];
        enclave->type = NORMAL_ENCLAVE;
        param->isShadow = 1; /* before its end: others stop it by this struct */
        __atomic_store_n(&param->eid, last_eid, __ATOMIC_RELEASE);
    }
    if (take_pages(enclave, param))
        return refuse(EFAULT);
    enclave->state = RUNNING;
    return execute(enclave, param, rerun);
}

static int stop(struct enclave *enclave)
{
    if (!enclave)
        return broken("destroy") ? 0 : refuse(EINVAL);
    if (enclave->state == FRESH || enclave->type != NORMAL_ENCLAVE)
        return refuse(EFAULT);
    if (enclave->state == STOPPED && broken("stop"))
        return refuse(EFAULT);
    enclave->state = STOPPED;
    return 0;
}

static int resume(struct enclave *enclave)
{
    if (!enclave)
        return refuse(EINVAL);
    if (enclave->state != STOPPED)
        return refuse(EFAULT);
    if (!broken("resume"))
        enclave->state = RUNNING;
    return 0;
}

static int destroy(struct enclave *enclave)
{
    if (!enclave)
        return refuse(EINVAL);
    enclave->state = GONE;
    return pthread_cond_broadcast(&changed);
}

static int attest(struct attest_param *param)
{
    struct enclave *enclave = find(param->eid);
    if (!enclave)
        return refuse(EINVAL);
    if (enclave->state != FRESH && enclave->state != STOPPED)
        return refuse(EFAULT);
    memset(param->report.enclave.hash, 0xab, HASH_SIZE);
    memset(param->report.sm.hash, 0xcd, HASH_SIZE);
    memset(param->report.dev_pub_key, 0xef, PUBLIC_KEY_SIZE);
    param->report.enclave.nonce = param->nonce + broken("attest");
    return 0;
}

static int get(struct shmget_param *param)
{
    struct memory *memory = &memories[++last_id];
    *memory = (struct memory){.fd = memfd_create("memory", 0), .known = 1, .size = param->size};
    return ftruncate(memory->fd, param->size) ? -1 : last_id;
}

static struct memory *memory(int id)
{
    return id > 0 && id <= last_id && memories[id].known ? &memories[id] : NULL;
}

static int attach(int fd, struct shmat_param *param)
{
    struct memory *found = memory(param->id);
    if (!found)
        return refuse(EINVAL);
    found->mapped++;
    param->size = found->size;
    return dup2(found->fd, fd) < 0 ? -1 : 0; /* what the next mmap of this file maps */
}

static int detach(struct shmdt_param *param)
{
    struct memory *found = memory(param->id);
    if (!found)
        return refuse(EINVAL);
    found->mapped--;
    param->size = found->size;
    return 0;
}

static int give_up(int id)
{
    struct memory *found = memory(id);
    if (!found)
        return refuse(EINVAL);
    found->known = 0;
    return 0;
}

static int serve(int fd, unsigned request, void *argument)
{
    struct user_param *param = argument;
    switch (request) {
    case PENGLAI_IOC_CREATE: return create(param);
    case PENGLAI_IOC_RUN: return run(param);
    case PENGLAI_IOC_ATTEST: return attest(argument);
    case PENGLAI_IOC_STOP: return stop(find(param->eid));
    case PENGLAI_IOC_RESUME: return resume(find(param->eid));
    case PENGLAI_IOC_DESTROY: return destroy(find(param->eid));
    case PENGLAI_IOC_SHMGET: case PENGLAI_IOC_SCHRODINGER_GET: return get(argument);
    case PENGLAI_IOC_SHMAT: case PENGLAI_IOC_SCHRODINGER_AT: return attach(fd, argument);
    case PENGLAI_IOC_SHMDT: case PENGLAI_IOC_SCHRODINGER_DT: return detach(argument);
    case PENGLAI_IOC_SHMCTL: case PENGLAI_IOC_SCHRODINGER_CTL: return give_up(*(int *)argument);
    case PENGLAI_IOC_PERSISTENCY_INIT: return memory(*(int *)argument) ? 0 : refuse(EINVAL);
    }
    return refuse(ENOTTY);
}

int ioctl(int fd, int request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (fcntl(fd, F_GETFD) < 0)
        return -1;
    pthread_mutex_lock(&lock);
    int result = serve(fd, request, argument);
    pthread_mutex_unlock(&lock);
    return result;
}

int open(const char *path, int flags, ...)
{
    if (!strcmp(path, PENGLAI_DEVICE))
        return broken("open") ? refuse(ENOENT) : memfd_create("device", MFD_CLOEXEC);
    return syscall(SYS_openat, AT_FDCWD, path, flags, 0666);
}
"""

LIBRARY_TEST = r"""
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include "penglai-enclave.h"

#define REFUSED(call, reason) (errno = 0, (call) == -1 && errno == (reason))

static struct elf_args loops, relays;
static struct enclave_args params;

static void *run(void *enclave)
{
    assert(PLenclave_run(enclave) == 0);
    return NULL;
}

static void before_create(void)
{
    struct PLenclave enclave;
    assert(PLenclave_init(&enclave) == 0 && enclave.fd >= 0 && enclave.eid == -1);
    assert(REFUSED(PLenclave_run(&enclave), EINVAL));
    assert(REFUSED(PLenclave_stop(&enclave), EINVAL));
    assert(REFUSED(PLenclave_attest(&enclave, 1), EINVAL) && enclave.eid == -1);
    int fd = enclave.fd;
    PLenclave_destruct(&enclave);
    assert(enclave.fd == -1 && REFUSED(PLenclave_create(&enclave, &loops, &params), EBADF) && fd >= 0);
}

static void arguments_are_checked(void)
{
    struct PLenclave enclave;
    struct enclave_args long_name = params;
    struct elf_args none = {0};
    PLenclave_init(&enclave);
    memset(long_name.name, 'x', sizeof long_name.name);
    assert(REFUSED(PLenclave_create(&enclave, &loops, &long_name), EINVAL));
    assert(REFUSED(PLenclave_create(&enclave, &none, &params), EINVAL) && enclave.eid == -1);
    PLenclave_destruct(&enclave);
}

static void shared_memory_is_passed_on(void)
{
    struct PLenclave enclave;
    struct enclave_args own = params;
    PLenclave_init(&enclave);
    PLenclave_set_shm(&enclave, 5, 4096, 8192);
    assert(PLenclave_create(&enclave, &loops, &own) == 0);
    assert(enclave.user_param.shmid == 5 && enclave.user_param.shm_offset == 4096);
    PLenclave_destruct(&enclave);
    PLenclave_init(&enclave);
    own.shmid = 6, own.shm_size = 4096;
    strcpy(own.name, "fifteen letters");
    assert(PLenclave_create(&enclave, &loops, &own) == 0 && enclave.user_param.shmid == 6);
    assert(!strcmp(enclave.user_param.name, own.name) && enclave.elffile == &loops);
    PLenclave_destruct(&enclave);
}

static void memory_is_mapped(void)
{
    int one = PLenclave_shmget(4096), other = PLenclave_shmget(8192);
    assert(one > 0 && other > one);
    char *first = PLenclave_shmat(one, NULL), *second = PLenclave_shmat(other, NULL);
    char *again = PLenclave_shmat(one, NULL);
    first[9] = 1, second[8191] = 2;
    assert(again[9] == 1 && second[9] == 0 && first != again);
    assert(PLenclave_shmdt(one, first) == 0 && again[9] == 1);
    assert(PLenclave_shmdt(one, again) == 0 && PLenclave_shmdt(other, second) == 0);
    assert(PLenclave_fs_persistency_init(other) == 0 && REFUSED(PLenclave_fs_persistency_init(99), EINVAL));
    assert(PLenclave_shmctl(one) == 0 && REFUSED(PLenclave_shmctl(one), EINVAL));
    errno = 0;
    assert(PLenclave_shmat(one, NULL) == NULL && errno == EINVAL);
    assert(REFUSED(PLenclave_shmdt(one, first), EINVAL));
}

static void rerun_holds_for_one_run(void)
{
    struct PLenclave enclave;
    PLenclave_init(&enclave);
    assert(PLenclave_create(&enclave, &relays, &params) == 0);
    assert(PLenclave_run(&enclave) == RETURN_USER_RELAY_PAGE);
    assert(REFUSED(PLenclave_run(&enclave), EFAULT));
    PLenclave_set_rerun_arg(&enclave, RETURN_USER_RELAY_PAGE);
    assert(PLenclave_run(&enclave) == 0 && enclave.user_param.rerun_reason == 0);
    PLenclave_destruct(&enclave);
}

static void a_shadow_that_runs_is_its_instance(void)
{
    struct PLenclave enclave;
    struct enclave_args shadow = params;
    pthread_t thread;
    shadow.type = SHADOW_ENCLAVE;
    PLenclave_init(&enclave);
    assert(PLenclave_create(&enclave, &loops, &shadow) == 0);
    struct PLenclave template = enclave;
    assert(REFUSED(PLenclave_stop(&enclave), EFAULT));
    pthread_create(&thread, NULL, run, &enclave);
    while (PLenclave_stop(&enclave))
        sched_yield();
    assert(PLenclave_stop(&enclave) == 0 && PLenclave_attest(&enclave, 7) == 0);
    assert(enclave.attest_param.eid == template.eid + 1 && enclave.attest_param.isShadow);
    assert(enclave.attest_param.report.enclave.nonce == 7);
    assert(PLenclave_resume(&enclave) == 0 && REFUSED(PLenclave_attest(&enclave, 8), EFAULT));
    assert(enclave.attest_param.nonce == 7);
    assert(PLenclave_destroy(&enclave) == 0);
    pthread_join(thread, NULL);
    assert(enclave.eid == template.eid + 1 && enclave.user_param.isShadow == 1);
    assert(REFUSED(PLenclave_run(&enclave), EINVAL));
    assert(PLenclave_destroy(&template) == 0);
    PLenclave_destruct(&template);
}

static void destruct_destroys_what_lives(void)
{
    struct PLenclave enclave, other;
    PLenclave_init(&enclave);
    PLenclave_init(&other);
    assert(PLenclave_create(&enclave, &loops, &params) == 0);
    other.user_param = enclave.user_param;
    assert(PLenclave_attest(&other, 1) == 0);
    errno = ENOSPC;
    PLenclave_destruct(&enclave);
    assert(errno == ENOSPC && enclave.eid == -1 && enclave.fd == -1);
    assert(REFUSED(PLenclave_attest(&other, 1), EINVAL));
    PLenclave_destruct(&other);
}

static void without_a_device(void)
{
    struct PLenclave enclave;
    setenv("FAKE_BREAKS", "open", 1);
    assert(REFUSED(PLenclave_init(&enclave), ENOENT) && enclave.fd == -1 && enclave.eid == -1);
    assert(REFUSED(PLenclave_shmget(4096), ENOENT));
    PLenclave_destruct(&enclave);
    unsetenv("FAKE_BREAKS");
}

int main(int argc, char **argv)
{
    assert(argc == 3);
    assert(elf_args_init(&loops, argv[1]) == 0 && elf_valid(&loops));
    assert(elf_args_init(&relays, argv[2]) == 0 && relays.size == 64 && relays.fd == -1);
    enclave_args_init(&params);
    assert(params.type == NORMAL_ENCLAVE && params.stack_size == 65536 && !params.shmid && !params.name[0]);
    without_a_device();
    before_create();
    arguments_are_checked();
    shared_memory_is_passed_on();
    memory_is_mapped();
    rerun_holds_for_one_run();
    a_shadow_that_runs_is_its_instance();
    destruct_destroys_what_lives();
    elf_args_destroy(&loops);
    elf_args_destroy(&relays);
    assert(!elf_valid(&loops) && loops.size == 0 && REFUSED(elf_args_init(&loops, "/no"), ENOENT));
    assert(REFUSED(elf_args_init(&loops, "/"), EISDIR) && !elf_valid(&loops));
    return 0;
}
"""


def native(directory: Path, name: str, *sources: Path) -> Path:
    """A program with the host library and the fake device, for the machine that runs the tests."""
    fake = directory / "fake.c"
    fake.write_text(FAKE_DEVICE)
    inputs = [*sources, *hostbuild.LIBRARY, fake]
    flags = ["-target", f"{platform.machine()}-linux-musl", "-static", "-O1", f"-I{hostbuild.INCLUDE}"]
    return compile_cached(
        name, flags, [*inputs, *hostbuild.HEADERS], lambda output: compile_c([*flags, *inputs], output)
    )


def run(program: Path | str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end.  environment: FAKE_BREAKS, what the fake device does wrong."""
    line = [str(program), *map(str, arguments)]
    return subprocess.run(
        line, capture_output=True, text=True, timeout=PATIENCE, check=False, env={**os.environ, **environment}
    )


def is_static_riscv(program: Path) -> bool:
    with program.open("rb") as stream:
        elf = ELFFile(stream)
        interpreters = [segment for segment in elf.iter_segments() if segment["p_type"] == "PT_INTERP"]
        return (elf.elfclass, elf["e_machine"], elf["e_type"], interpreters) == (
            64,
            "EM_RISCV",
            "ET_EXEC",
            [],
        )


def image(directory: Path, program: int) -> Path:
    """What the fake device takes for an enclave program: a header whose entry point tells what it does."""
    path = directory / f"program-{program}"
    header = struct.pack("<16sHHIQ", b"\x7fELF\x02\x01\x01", 2, 243, 1, program)
    path.write_bytes(header.ljust(64, b"\0"))
    return path


class Demo:
    """A demo that runs on the fake device."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self.program = native(directory, name, host_demo_source(name), hostbuild.COMMON)

    def __call__(self, *arguments: object, breaks: str = "") -> subprocess.CompletedProcess[str]:
        return run(self.program, *arguments, FAKE_BREAKS=breaks)

    def image(self, program: int) -> Path:
        return image(self.directory, program)


@pytest.fixture
def demo(request: pytest.FixtureRequest, tmp_path: Path) -> Demo:
    return Demo(tmp_path, request.param)


def on_fake(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("demo", names, indirect=True)


class TestCompiling:
    def test_the_demos_are_these(self):
        assert host_demos() == DEMOS

    @pytest.mark.parametrize("name", DEMOS)
    def test_every_demo_is_a_static_program(self, name: str):
        made = build_host_demo(name)
        assert is_static_riscv(made)
        assert build_host_demo(name) == made

    def test_a_program_in_c(self, tmp_path: Path):
        (tmp_path / "part.h").write_text("int part(void);\n")
        (tmp_path / "part.c").write_text('#include "part.h"\nint part(void) { return NUMBER; }\n')
        (tmp_path / "mine.c").write_text(
            "#include <link.h>\n"  # includes the C library's elf.h, not ours alone
            '#include "penglai-enclave.h"\n#include "part.h"\n'
            "int main(void) { struct PLenclave e; return PLenclave_init(&e) ? part() : EM_RISCV; }\n"
        )
        made = build_host(
            [tmp_path / "mine.c", tmp_path / "part.c"], flags=["-DNUMBER=3", "-Wpedantic", "-Werror"]
        )
        assert made == tmp_path / "mine"
        assert is_static_riscv(made)

    def test_a_program_in_cxx(self, tmp_path: Path):
        source = tmp_path / "mine.cpp"
        source.write_text(
            '#include <string>\n#include "penglai-enclave.h"\n'
            "int main(int, char **argv) { PLenclave e; elf_args elf; return PLenclave_init(&e)"
            " || elf_args_init(&elf, std::string(argv[0]).c_str()); }\n"
        )
        assert is_static_riscv(
            build_host(source, tmp_path / "out", ["-Wall", "-Wextra", "-Wpedantic", "-Werror"])
        )

    def test_the_modules_sources_lie_beside_the_host_programs(self):
        assert hostbuild.module_dir() == hostbuild.HOST.parent / "module"


class TestLayouts:
    def test_structs_and_requests_are_the_abis(self, tmp_path: Path):
        lines = ["#include <stddef.h>", '#include "penglai-enclave.h"']
        lines += [
            f'_Static_assert(PENGLAI_IOC_{name} == {number}u, "");' for name, number in REQUESTS.items()
        ]
        for name, layout, renamed in STRUCTS:
            lines.append(f'_Static_assert(sizeof(struct {name}) == {ctypes.sizeof(layout)}, "");')
            for field, *_ in layout._fields_:
                place = getattr(layout, field)
                member = f"struct {name}, {renamed.get(field, field)}"
                lines.append(f'_Static_assert(offsetof({member}) == {place.offset}, "{member}");')
                size = f"sizeof(((struct {name} *)0)->{renamed.get(field, field)})"
                lines.append(f'_Static_assert({size} == {place.size}, "{member}");')
        self.compile(tmp_path, lines)

    def test_a_wrong_layout_would_not_compile(self, tmp_path: Path):
        lines = [
            '#include "penglai-enclave.h"',
            '_Static_assert(sizeof(struct user_param) == 120, "it is not");',
        ]
        with pytest.raises(penglai.ToolchainError, match="it is not"):
            self.compile(tmp_path, lines)

    @staticmethod
    def compile(directory: Path, lines: list[str]) -> None:
        source = directory / "layouts.c"
        source.write_text("\n".join([*lines, ""]))
        compile_c([*hostbuild.COMPILE_FLAGS, "-std=c11", "-c", source], directory / "layouts.o")


class TestBuildErrors:
    def test_the_compilers_messages_are_shown_and_nothing_is_made(self, tmp_path: Path):
        source = tmp_path / "bad.c"
        source.write_text("int main( { return undeclared; }\n")
        with pytest.raises(penglai.ToolchainError, match=r"bad\.c:1"):
            build_host(source)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.c"]

    @pytest.mark.parametrize(
        ("sources", "message"),
        [([], "nothing to build"), ("no.c", "no such file: no.c"), (["/"], "no such file: /")],
    )
    def test_sources_that_are_none(self, sources: str | list[str], message: str):
        with pytest.raises(penglai.ToolchainError, match=message):
            build_host(sources, "out")

    def test_a_source_is_not_overwritten(self, tmp_path: Path):
        source = tmp_path / "program"
        source.write_text("int main;")
        with pytest.raises(penglai.ToolchainError, match="overwrite"):
            build_host(source)

    @pytest.mark.parametrize("name", ["common", "loop", "../lib/elf"])
    def test_a_demo_that_is_none(self, name: str):
        with pytest.raises(penglai.ImageError, match=r"no host program .*; there are attest, fork-host"):
            build_host_demo(name)


def test_the_library_keeps_its_promises(tmp_path: Path):
    source = tmp_path / "library-test.c"
    source.write_text(LIBRARY_TEST)
    done = run(native(tmp_path, "library-test", source), image(tmp_path, LOOPS), image(tmp_path, RELAYS))
    assert (done.returncode, done.stderr) == (0, "")


@on_fake("host", "fork-host")
class TestHost:
    def test_it_runs_many_at_once(self, demo: Demo):
        done = demo(demo.image(SUMS), 7)
        assert done.returncode == 0
        ends = [line.split(" ", 2)[2] for line in done.stdout.splitlines()]
        assert ends == [f"exited with value {SUM_OF_A_PAGE}"] * 7

    def test_pages_that_come_back_are_followed_by_others(self, demo: Demo):
        done = demo(demo.image(RELAYS), 1)
        assert done.stdout == f"enclave 1 exited with value {2 * SUM_OF_A_PAGE}\n"
        assert done.returncode == 0

    def test_a_fault_is_a_failure(self, demo: Demo):
        done = demo(demo.image(FAULTS))
        assert (done.returncode, done.stdout) == (1, "")
        assert f"{demo.program.name}: enclave 1 did not run to its end: Bad address\n" in done.stderr

    @pytest.mark.parametrize(
        ("breaks", "message"),
        [
            ("open", "cannot open /dev/penglai_enclave_dev: No such file or directory"),
            ("create", "cannot create an enclave: "),
        ],
    )
    def test_a_device_that_fails(self, demo: Demo, breaks: str, message: str):
        done = demo(demo.image(SUMS), breaks=breaks)
        assert done.returncode == 1
        assert f"{demo.program.name}: {message}" in done.stderr

    @pytest.mark.parametrize("arguments", [(), ("e", 0), ("e", 101), ("e", "1x"), ("e", ""), ("e", 1, 1)])
    def test_how_it_is_not_called(self, demo: Demo, arguments: tuple[object, ...]):
        done = demo(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"usage: {demo.program.name} EAPP")


@on_fake(*DEMOS)
def test_every_demo_says_what_is_wrong_with_a_file(demo: Demo):
    text = demo.directory / "text"
    text.write_text("no program")
    for path, reason in (
        (demo.directory / "none", f"cannot read {demo.directory}/none: No such file or directory"),
        (text, f"{text} is no enclave program: Exec format error"),
    ):
        arguments = (path, path) if demo.program.name == "test-caller" else (path,)
        done = demo(*arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"{demo.program.name}: {reason}\n"


@on_fake("test-caller", "test-stop", "attest", "shadow")
def test_every_demo_says_how_it_is_called(demo: Demo):
    done = demo()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"usage: {demo.program.name} ")


@on_fake("test-caller")
class TestCaller:
    def test_the_caller_finds_the_servers_by_their_names(self, demo: Demo):
        done = demo(demo.image(CALLS), *[demo.image(SUMS)] * 12)
        assert (done.returncode, done.stdout) == (0, "enclave 13 exited with value 12\n")

    def test_a_server_that_cannot_be_read(self, demo: Demo):
        done = demo(demo.image(CALLS), demo.image(SUMS), "/none")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "test-caller: cannot read /none: No such file or directory\n"


@on_fake("test-stop")
class TestStop:
    def test_it_stops_resumes_and_destroys(self, demo: Demo):
        done = demo(demo.image(LOOPS))
        assert [line.split(",")[0] for line in done.stdout.splitlines()] == [
            "stop: ok",
            "resume: ok",
            "destroy: ok",
            "run: returned 0",
        ]
        assert (done.returncode, done.stderr) == (0, "")

    @pytest.mark.parametrize(
        ("breaks", "message"),
        [
            ("stop", "stop: the enclave did not stay stopped"),
            ("resume", "resume: the enclave does not go on"),
            ("destroy", "destroy: the enclave is still there"),
            ("run", "run: it should have returned 0: Bad address"),
        ],
    )
    def test_a_step_that_does_nothing_is_found_out(self, demo: Demo, breaks: str, message: str):
        done = demo(demo.image(LOOPS), breaks=breaks)
        assert done.returncode == 1
        assert f"test-stop: {message}" in done.stderr

    def test_an_enclave_that_faults(self, demo: Demo):
        done = demo(demo.image(FAULTS))
        assert done.returncode == 1
        assert "stop: the enclave is not running" in done.stderr


@on_fake("attest")
class TestAttest:
    def test_the_report_is_printed_and_written(self, demo: Demo):
        output = demo.directory / "report"
        done = demo("-o", output, demo.image(SUMS), "0xfedcba9876543210")
        assert (done.returncode, done.stderr) == (0, "")
        assert [line.split()[-1] for line in done.stdout.splitlines()] == [
            "ab" * 32,
            "0xfedcba9876543210",
            "cd" * 32,
            "ef" * 64,
        ]
        written = report.ReportLayout.from_buffer_copy(output.read_bytes())
        assert output.stat().st_size == report.REPORT_BYTES
        assert (written.enclave.nonce, bytes(written.monitor.hash)) == (0xFEDCBA9876543210, b"\xcd" * 32)

    def test_without_a_nonce_it_is_another_one_each_time(self, demo: Demo):
        assert demo(demo.image(SUMS)).stdout != demo(demo.image(SUMS)).stdout

    def test_another_nonce_is_noticed(self, demo: Demo):
        done = demo(demo.image(SUMS), 5, breaks="attest")
        assert (done.returncode, done.stdout) == (1, "")
        assert "the report has another nonce, 0x6" in done.stderr

    def test_a_file_that_cannot_be_written(self, demo: Demo):
        done = demo("-o", demo.directory, demo.image(SUMS), 5)
        assert done.returncode == 1
        assert f"attest: cannot write {demo.directory}: Is a directory" in done.stderr

    @pytest.mark.parametrize("nonce", ["-1", "five", "", "1 2", "0x10000000000000000"])
    def test_a_nonce_that_is_none(self, demo: Demo, nonce: str):
        assert demo("--", demo.image(SUMS), nonce).returncode == 2


@on_fake("shadow")
class TestShadow:
    def test_instances_end_and_the_template_is_destroyed_last(self, demo: Demo):
        done = demo(demo.image(SUMS))
        assert done.stdout.splitlines() == [
            "shadow 1 created",
            *(f"enclave {eid} exited with value {SUM_OF_A_PAGE}" for eid in (2, 3, 4)),
            "shadow 1 destroyed",
        ]
        assert (done.returncode, done.stderr) == (0, "")

    def test_an_instance_keeps_its_eid_when_it_is_run_again(self, demo: Demo):
        done = demo(demo.image(RELAYS), 1)
        assert done.stdout.splitlines()[1] == f"enclave 2 exited with value {2 * SUM_OF_A_PAGE}"

    def test_after_a_fault_the_template_is_destroyed_too(self, demo: Demo):
        done = demo(demo.image(FAULTS), 5)
        assert (done.returncode, done.stdout) == (1, "shadow 1 created\nshadow 1 destroyed\n")


@pytest.mark.skipif(shutil.which("qemu-riscv64") is None, reason="qemu-riscv64 is not installed")
@pytest.mark.parametrize("name", DEMOS)
def test_the_riscv_programs_start(name: str):
    done = run("qemu-riscv64", build_host_demo(name))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"usage: {name} ")
