"""Where time goes: samples with what led there, in the forms of viewers."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.test_commands import penglai as command
from tests.support.bare import ENGINES
from tests.support.programs import compiled, eapp
from tests.support.waiting import PATIENCE, until

import penglai
from penglai.debug import sampling

FOREVER = """#include "eapp.h"
__attribute__((noinline)) static unsigned long spin(volatile unsigned long *n)
{
    while (*n)
        ++*n;
    return *n;
}
__attribute__((noinline)) static unsigned long middle(void)
{
    volatile unsigned long n = 1;
    return spin(&n) + 1;
}
int EAPP_ENTRY main(void)
{
    EAPP_RETURN(middle() + 1);
}
"""
SERVER = FOREVER.replace(
    "    EAPP_RETURN(middle() + 1);",
    "    struct call_enclave_arg_t answer = {.resp_val = middle()};\n    SERVER_RETURN(&answer);",
)
CALLER = """
    struct call_enclave_arg_t call = {0};
    call_enclave(acquire_enclave("spinner"), &call);
"""
ENOUGH = 5


@pytest.fixture(params=ENGINES)
def machine(request: pytest.FixtureRequest) -> Iterator[penglai.Machine]:
    with penglai.Machine("64M", sampling=True, engine=request.param) as machine:
        yield machine


def sample(machine: penglai.Machine, enclave: penglai.Enclave, enough: int = ENOUGH) -> None:
    """Run it until there are some samples."""
    before = len(machine.time_profile.samples.kept())
    enclave.start()
    until(lambda: len(machine.time_profile.samples.kept()) >= before + enough)
    enclave.destroy()


def stacks(written: dict[str, Any], profile: int = 0) -> set[tuple[str, ...]]:
    """What led to each sample, from the outside to the inside."""
    frames = written["shared"]["frames"]
    return {tuple(frames[i]["name"] for i in row) for row in written["profiles"][profile]["samples"]}


def test_samples_show_what_led_there(machine: penglai.Machine, tmp_path: Path):
    sample(machine, machine.create(compiled(FOREVER, "-g"), name="forever"))
    said = machine.time_profile.write(tmp_path / "out.json")
    written = json.loads((tmp_path / "out.json").read_text())
    (profile,) = written["profiles"]
    assert profile["name"] == "enclave 1 forever"
    assert profile["endValue"] == sum(profile["weights"]) >= ENOUGH * sampling.INTERVAL
    assert any(stack[-3:] == ("main", "middle", "spin") for stack in stacks(written))
    lines = {(each["name"], each["line"]) for each in written["shared"]["frames"] if "line" in each}
    assert {("main", 15), ("middle", 11)} <= lines
    assert re.fullmatch(r"\d+ samples of \d+ ms", said)


def test_the_time_of_a_server_is_its_callers(machine: penglai.Machine, tmp_path: Path):
    machine.create(compiled(SERVER, "-g"), name="spinner", kind="server")
    sample(machine, machine.create(eapp(CALLER), name="caller"))
    machine.time_profile.write(tmp_path / "out.json")
    written = json.loads((tmp_path / "out.json").read_text())
    assert [profile["name"] for profile in written["profiles"]] == ["enclave 2 caller"]
    innermost = ("enclave 1 spinner: middle", "enclave 1 spinner: spin")
    assert any(stack[-2:] == innermost and "main" in stack for stack in stacks(written))


def test_the_form_of_perf_script(machine: penglai.Machine, tmp_path: Path):
    sample(machine, machine.create(compiled(FOREVER), name="forever"))
    machine.time_profile.write(tmp_path / "out.perf")
    first, *_ = (tmp_path / "out.perf").read_text().split("\n\n")
    head, *calls = first.splitlines()
    assert re.fullmatch(r"forever 1/1 \[00\d\] \d+\.\d{6}: \d+ cpu-clock:", head)
    assert all(re.fullmatch(r"\t *[0-9a-f]+ \S+ \(enclave-1-forever\)", call) for call in calls)


def test_nobody_below_or_above_notices(machine: penglai.Machine):
    enclave = machine.create("prime")
    assert enclave.run(PATIENCE).value == 78498
    with penglai.Machine("64M") as other:
        assert other.create("prime").measurement == enclave.measurement


def test_there_is_a_limit_to_what_is_kept(
    machine: penglai.Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(sampling, "MOST_BYTES", 20_000)
    enclave = machine.create(compiled(FOREVER, "-g"))
    enclave.start()
    until(lambda: machine.time_profile.samples.interval >= 4 * sampling.INTERVAL)
    enclave.destroy()
    kept = machine.time_profile.samples.kept()
    assert sum(len(each.enclaves[0].stack.data) for each in kept) <= 20_000
    machine.time_profile.write(tmp_path / "out.json")
    (profile,) = json.loads((tmp_path / "out.json").read_text())["profiles"]
    assert len(profile["weights"]) == len(kept)


def test_other_machines_take_none():
    with penglai.Machine("16M") as machine, pytest.raises(penglai.StateError, match="sampling=True"):
        _ = machine.time_profile


def test_the_command_writes_it_and_coverage_at_once(tmp_path: Path):
    files = ["--profile-time", tmp_path / "out.json", "--coverage", tmp_path / "out.lcov"]
    done = command("run", compiled(FOREVER, "-g"), "--timeout", "0.5", *files)
    assert done.returncode == 1, "its time was over"
    assert stacks(json.loads((tmp_path / "out.json").read_text()))
    assert "DA:5," in (tmp_path / "out.lcov").read_text()
    done = command("run", "hello-world", "--profile-time", tmp_path)
    assert "cannot write" in done.stderr
