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
from tests.support.sampled import ENOUGH, run_until_sampled
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


@pytest.fixture(params=ENGINES)
def machine(request: pytest.FixtureRequest) -> Iterator[penglai.Machine]:
    with penglai.Machine("64M", sampling=True, engine=request.param) as machine:
        yield machine


def stacks(written: dict[str, Any], profile: int = 0) -> set[tuple[str, ...]]:
    """What led to each sample, from the outside to the inside."""
    frames = written["shared"]["frames"]
    return {tuple(frames[i]["name"] for i in row) for row in written["profiles"][profile]["samples"]}


def test_samples_show_what_led_there(machine: penglai.Machine, tmp_path: Path):
    program = compiled(FOREVER, "-g")
    run_until_sampled(machine, machine.create(program, name="forever"), program)
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
    server = compiled(SERVER, "-g")
    machine.create(server, name="spinner", kind="server")
    run_until_sampled(machine, machine.create(eapp(CALLER), name="caller"), server)
    machine.time_profile.write(tmp_path / "out.json")
    written = json.loads((tmp_path / "out.json").read_text())
    assert [profile["name"] for profile in written["profiles"]] == ["enclave 2 caller"]
    inside = ("enclave 1 spinner: middle", "enclave 1 spinner: spin")
    spinning = [stack for stack in stacks(written) if stack[-2:] == inside]
    assert spinning
    assert all("main" in stack for stack in spinning)


def test_the_form_of_perf_script(machine: penglai.Machine, tmp_path: Path):
    program = compiled(FOREVER)
    run_until_sampled(machine, machine.create(program, name="forever"), program)
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
    finite = FOREVER.replace("while (*n)", "while (*n < 3000000)")
    done = command("run", compiled(finite, "-g"), *files)
    assert done.returncode == 0, done.stderr
    assert stacks(json.loads((tmp_path / "out.json").read_text()))
    assert "DA:5," in (tmp_path / "out.lcov").read_text()
    done = command("run", "hello-world", "--profile-time", tmp_path)
    assert "cannot write" in done.stderr
