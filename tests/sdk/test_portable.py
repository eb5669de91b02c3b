"""Programs for both machines: `penglai build --profile tvm`, and what `penglai check` says of programs."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.test_commands import penglai as command
from tests.compat.programs import program
from tests.support import linux
from tests.support.portable import PROFILES, portable
from tests.support.programs import eapp
from tests.support.waiting import PATIENCE

import penglai
from penglai import ImageError, Reason, State, ToolchainError
from penglai.sdk.build import build_demo, demos
from penglai.sdk.check import check

TOGETHER = ("loop", "server", "server1", "caller", "relay-page")
"""Demos that do not end, or not alone: each has a test of its own here."""
ALONE = [name for name in demos() if name not in TOGETHER]
HEAD = '#include "eapp.h"\n#include "print.h"\n#include "ocall.h"\n#include <errno.h>\n#include <stdio.h>\n'


def built(text: str, tmp_path: Path, *flags: str) -> Path:
    source = tmp_path / "program.c"
    source.write_text(HEAD + text)
    return penglai.build(source, tmp_path / "program", flags, profile="tvm")


def ran(image: Path, profile: str, relay: int = 0) -> tuple[int | None, str]:
    """Value and text of a program on a machine of this profile, with the servers of the tutorials."""
    with penglai.Machine(state=None, profile=profile) as machine:
        for name in ("server", "server1") if image == portable("caller") else ():
            machine.create(portable(name), name=f"test-{name}", kind="server")
        enclave = machine.create(image)
        pages = machine.relay_pages(relay) if relay else None
        result = enclave.start(relay=pages).result(PATIENCE)
        while result.reason is Reason.RELAY:
            result = enclave.continue_with(pages).result(PATIENCE)
        assert result.fault is None, str(result.fault)
        return result.value, machine.console.text


@pytest.mark.parametrize("name", ALONE)
def test_the_demos_do_the_same_on_both_machines(name: str):
    value, text = ran(portable(name), "native")
    assert (value, text) == ran(portable(name), "tvm")
    assert text


def test_servers_and_relay_pages_do_the_same_on_both_machines():
    native, tvm = (ran(portable("caller"), profile) for profile in PROFILES)
    assert native[0] == tvm[0] == 101
    assert native[1].splitlines()[1:] == tvm[1].splitlines()[1:], "but for the caller's number"
    assert ran(portable("relay-page"), "native", 8192) == ran(portable("relay-page"), "tvm", 8192)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_portable_enclave_is_stopped_resumed_and_destroyed(profile: str):
    with penglai.Machine(state=None, profile=profile) as machine:
        run = machine.create(portable("loop")).start()
        for _ in range(3):
            run.enclave.stop()
            assert run.enclave.state is State.STOPPED
            run.enclave.resume()
        run.enclave.destroy()
        assert run.result(PATIENCE).reason is Reason.DESTROYED


@pytest.mark.linux
def test_with_linux_as_the_host_it_is_the_same():
    files = {"portable": portable("prime"), "native": build_demo("prime")}
    commands = "./host portable; ./host native; echo status $?"
    there = linux.run(commands, files, profile="tvm").output
    assert "prime: 78498 primes" in there
    assert "status 1" in there, "a call of ours ends it"
    assert "status 0" in linux.run(commands, files).output


LIBRARY = """
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
__thread int mine = 5;
int main(void)
{
    char bytes[8];
    struct timespec now;
    errno = 0;
    if (fopen("/nowhere", "r") || errno != ENOENT) return 1;
    errno = 0;
    if (getrandom(bytes, 8, 0) != -1 || errno != ENOSYS) return 2;
    if (clock_gettime(CLOCK_REALTIME, &now) != -1 || time(0)) return 3;
    if (clock_gettime(CLOCK_MONOTONIC, &now)) return 3;
    if (mine++ != 5 || mine != 6) return 4;
    for (int round = 0; round < 50; round++) {
        char *blocks[40];
        for (int i = 0; i < 40; i++) {
            blocks[i] = calloc(1, 100 + 5000 * i);
            if (!blocks[i]) return 5;
            for (int k = 0; k < 100 + 5000 * i; k++) if (blocks[i][k]) return 6;
            memset(blocks[i], 0x77, 100 + 5000 * i);
            blocks[i] = realloc(blocks[i], 200 + 7000 * i);
            if (!blocks[i] || blocks[i][99 + 5000 * i] != 0x77) return 7;
        }
        for (int i = 0; i < 40; i++) free(blocks[(i * 7) % 40]);
    }
    void *volatile large = malloc(300UL << 20);
    if (large) return 8;
    char *top = sbrk(0), *next = sbrk(4096);
    for (char *at = top; at < next; at++) if (*at) return 9;
    return (int)(strtod("2.5", NULL) * 4) == 10 ? 42 : 10;
}
"""


@pytest.mark.parametrize("profile", PROFILES)
def test_the_c_library_works_and_says_what_is_not_to_be_had(profile: str, tmp_path: Path):
    assert ran(built(LIBRARY, tmp_path), profile)[0] == 42


ACROSS = """
int main(void)
{
    char *pages = eapp_mmap(NULL, 8192), *edge = pages + 4096 - 10;
    struct report_t *report = (struct report_t *)(pages + 4096 - 100);
    if (get_report(NULL, report, 77) || report->enclave.nonce != 77) return 1;
    if (get_key(EAPP_KEY_STORAGE, edge, 32)) return 2;
    strcpy(edge, "nobody there");
    if (acquire_enclave(edge) != -1UL) return 3;
    struct call_enclave_arg_t *argument = (struct call_enclave_arg_t *)(pages + 4096 - 16);
    if (call_enclave(-1UL, argument) != -1UL) return 4;
    eapp_yield();
    return eapp_shmget(1, 4096) == -1 && eapp_read_sector(0, edge) == -1 ? 42 : 5;
}
"""


@pytest.mark.parametrize("profile", PROFILES)
def test_buffers_may_lie_across_pages_and_what_kills_is_not_called(profile: str, tmp_path: Path):
    assert ran(built("#include <string.h>\n" + ACROSS, tmp_path), profile)[0] == 42


TEXTS = """
int main(void)
{
    eapp_print("one"); eapp_print(" line\\n\\n");
    eapp_print("50%% of %s\\n", "100%");
    for (int i = 0; i < 600; i++) putchar('x');
    puts("");
    fputs("without an end", stdout);
    return 0;
}
"""


def test_text_is_whole_lines_of_at_most_511_bytes_without_percent_signs(tmp_path: Path):
    image = built(TEXTS, tmp_path)
    _, text = ran(image, "tvm")
    assert text == ran(image, "native")[1]
    lines = text.splitlines()
    assert lines[:3] == ["one line", "", "50pct of 100pct"]
    assert "".join(lines[3:-1]) == "x" * 600
    assert max(map(len, lines)) <= 510
    assert lines[-1] == "without an end"


class TestCheck:
    @pytest.mark.parametrize("name", ["caller", "float", "libc", "mem", "zigzag"])
    def test_portable_programs_have_nothing(self, name: str):
        assert check(portable(name).read_bytes(), name) == []

    def test_others_have_calls_of_ours_system_calls_and_floating_point(self):
        why = {finding.why for finding in check(build_demo("float").read_bytes(), "float")}
        assert any(text.startswith("call 1, which Penglai-TVM does not have") for text in why)
        assert any("system call" in text for text in why)
        assert any("floating-point" in text for text in why)

    @pytest.mark.parametrize("value", [0, 7])
    def test_others_have_variables_of_each_thread(self, value: int):
        image = eapp(f"static __thread volatile int n = {value}; EAPP_RETURN(++n);")
        found = [finding.why for finding in check(image.read_bytes(), "it")]
        assert any("header TLS" in why or "section .tbss" in why for why in found)

    @pytest.mark.parametrize(
        ("body", "why"),
        [
            ("return penglai(3, 0, 0, 0);", "call 3"),
            ("return penglai(89, 0, 0, 0);", "yield"),
            ("return ocall(9, 1, 4096);", "ocall 9"),
            ("return raw(0, 64, 0, 0, 0, 0).a[0];", "system call (64)"),
        ],
    )
    def test_what_a_program_calls(self, body: str, why: str):
        assert any(why in finding.why for finding in check(program(body, server=False).read_bytes(), "it"))

    def test_programs_of_the_originals_shape_have_nothing(self):
        image = program("return raw(0, 29, 0, 0, 0, 0).a[0] + ocall(8, (u64)&page, 8);", server=False)
        assert check(image.read_bytes(), "it") == []

    @given(st.data())
    def test_damaged_files_are_refused_or_read(self, data: st.DataObject):
        """Nothing else is raised."""
        image = bytearray(program("return 0;", server=False).read_bytes())
        for _ in range(data.draw(st.integers(1, 8))):
            image[data.draw(st.integers(0, len(image) - 1) | st.integers(0, 119))] = data.draw(
                st.integers(0, 255)
            )
        with contextlib.suppress(ImageError):
            check(bytes(image), "it")

    def test_the_command(self, tmp_path: Path):
        source = tmp_path / "it.c"
        source.write_text(HEAD + "int main(void) { return 7; }\n")
        assert command("build", "--profile", "tvm", source, cwd=tmp_path).returncode == 0
        done = command("check", tmp_path / "it")
        assert (done.returncode, done.stdout) == (0, "")
        assert command("run", "--profile", "tvm", tmp_path / "it", "--exit-value").returncode == 7
        bad = command("check", eapp("EAPP_RETURN(0);"))
        assert bad.returncode == 1
        assert "would not run on the original" in bad.stderr
        source.write_text("not an elf")
        assert command("check", source).returncode == 1

    def test_floating_point_that_is_asked_for_is_told(self, tmp_path: Path):
        source = tmp_path / "it.c"
        source.write_text("double half(double x) { return x / 2; }\nint main(int n) { return half(n); }\n")
        done = command("build", "--profile", "tvm", "-march=rv64gc", "-mabi=lp64d", source)
        assert done.returncode == 1
        assert "floating-point" in done.stdout


def test_a_program_without_the_librarys_entry_is_refused(tmp_path: Path):
    with pytest.raises(ToolchainError, match="does not begin with the library's entry"):
        built("void _start(void) { for (;;) ; }\n", tmp_path, "-nostdlib", "-nostartfiles", "-ffreestanding")
    assert not (tmp_path / "program").exists()
