"""penglai.Linux: commands on a booted machine, as a user's own tests run them."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import linux as support
from tests.support.programs import eapp
from tests.support.waiting import PATIENCE, until

import penglai
from penglai.sdk.hostbuild import build_host

pytestmark = pytest.mark.linux


@pytest.fixture(scope="module")
def linux() -> Iterator[penglai.Linux]:
    with penglai.Linux(image=support.image(), timeout=PATIENCE) as linux:
        yield linux


def test_a_command_has_a_status_and_an_output(linux: penglai.Linux):
    status, output = linux.run("echo out; echo err >&2; exit 7")
    assert (status, output) == (7, "out\nerr\n")
    assert linux.run("true") == penglai.Ran(status=0, output="")


@pytest.mark.parametrize(("command", "status"), [("kill -9 $$", 137), ("nonesuch", 127), ("exit 255", 255)])
def test_the_status_is_the_shells(linux: penglai.Linux, command: str, status: int):
    assert linux.run(command).status == status


def test_quotes_lines_and_whatever_else_is_in_a_command(linux: penglai.Linux):
    command = """echo 'a "b"' \\$HOME "$(pwd)"\nfor n in 1 2; do\n  echo $n ünï\ndone"""
    assert linux.run(command).output == 'a "b" $HOME /\n1 ünï\n2 ünï\n'


def test_input(linux: penglai.Linux):
    assert linux.run("cat; cat").output == ""
    assert linux.run("tr a-z A-Z", input="shout").output == "SHOUT"
    assert linux.run("wc -c", input=bytes(3_000_000)).output == "3000000\n"


def test_large_output(linux: penglai.Linux):
    assert linux.run("seq 300000 | cat").output == "".join(f"{n}\n" for n in range(1, 300001))


def test_enclaves(linux: penglai.Linux):
    for _ in range(3):
        ran = linux.run("./host hello-world")
        assert (ran.status, ran.output.startswith("hello world!\n")) == (0, True)


def test_what_is_built_into_the_share_runs(linux: penglai.Linux):
    source = linux.share / "program.c"
    for answer in (5, 6):
        source.write_text(f'#include <stdio.h>\nint main(void) {{ return puts("{answer}") < 0; }}\n')
        build_host([source], linux.share / "program", [])
        assert linux.run("/share/program").output == f"{answer}\n"


def killed(linux: penglai.Linux, command: str, begun: str) -> str:
    """What is said of a command that took too long, and by then had written that it has begun."""
    seconds = 0.5
    while True:
        with pytest.raises(penglai.WaitTimeoutError) as caught:
            linux.run(command, timeout=seconds)
        told = str(caught.value)
        assert f"still running after {seconds:g} seconds, and was killed; it had written:\n" in told
        if begun in told:
            return told
        seconds *= 2
        assert seconds < PATIENCE, told


def test_a_command_that_takes_too_long_is_killed_with_all_its_children(linux: penglai.Linux):
    assert "written:\nbegun\n" in killed(linux, "echo begun; (sleep 9999) & sleep 9999", "begun")
    assert linux.run("pidof sleep").output.strip() == ""
    with pytest.raises(penglai.WaitTimeoutError):
        linux.run("trap '' TERM INT; while :; do :; done", timeout=0)
    assert linux.run("echo goes on").output == "goes on\n"


def test_an_enclave_whose_program_is_killed_is_gone(linux: penglai.Linux):
    before = len(linux.guest.monitor.enclaves())
    killed(linux, "./host loop", "loop: round")
    until(lambda: len(linux.guest.monitor.enclaves()) == before)


def test_threads_run_commands_at_once(linux: penglai.Linux):
    ran: dict[int, str] = {}

    def work(number: int) -> None:
        command = (
            f"./host hello-world; echo {number} > /tmp/{number}; until [ -e /tmp/{1 - number} ]; do :; done"
        )
        ran[number] = linux.run(f"{command}; cat /tmp/{1 - number}").output

    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert {number: text.splitlines()[-1] for number, text in ran.items()} == {0: "1", 1: "0"}


def test_files_and_a_share_of_ones_own(tmp_path: Path):
    (tmp_path / "there").write_text("here")
    mine = eapp("EAPP_RETURN(11);")
    with penglai.Linux([f"mine={mine}"], share=tmp_path, image=support.image(), harts=1) as linux:
        assert linux.run("./host mine; cat share/there").output.endswith("value 11\nhere")
        linux.run("echo new > /share/new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "there"]


def test_a_machine_that_ends_is_said_to_have_ended():
    with penglai.Linux(image=support.image()) as linux:
        share = linux.share
        with pytest.raises(penglai.MachineError, match="the machine has ended"):
            linux.run("poweroff -f; sleep 1000")
        with pytest.raises(penglai.StateError, match="off"):
            linux.run("true")
        assert repr(linux) == "<Linux off 256 MiB>"
    assert not share.exists()
    linux.close()
    with pytest.raises(penglai.StateError, match="off"):
        linux.run("true")


def test_what_cannot_be_booted_leaves_nothing(tmp_path: Path):
    with pytest.raises(penglai.BadArgumentError, match="cannot share"):
        penglai.Linux(share=tmp_path / "missing", image=support.image())
    with pytest.raises(penglai.NoMemoryError, match="start it with more memory"):
        penglai.Linux(memory="16M", image=support.image())
    with pytest.raises(penglai.ImageError, match="is not there"):
        penglai.Linux(["missing"], image=support.image())
    with pytest.raises(penglai.MachineError, match="Kernel panic"):
        penglai.Linux(append="init=/bin/true rdinit=/bin/true", image=support.image())
