"""Which engine a machine gets, and who is told why."""

import os
import subprocess
import sys

import pytest
from tests.support.bare import ENGINES
from tests.support.person import PENGLAI
from tests.support.waiting import PATIENCE

import penglai
from penglai.abi.errors import BadArgumentError
from penglai.machine.engine import ENGINE_VARIABLE, Native, choose, chosen_by

SMALL = "import resource; resource.setrlimit(resource.RLIMIT_AS, (32 << 30, 32 << 30))\n"
"""Less than a window has."""
RUN = """
import penglai
with penglai.Machine("64M", state=None) as machine:
    assert machine.create("hello-world").run(timeout=3600).value == 0
    print(machine.engine)
"""
WHY = "from penglai.machine.engine import chosen_by; print(chosen_by())"


def python(program: str, engine: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        env=os.environ | {ENGINE_VARIABLE: engine},
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_the_variable_and_the_argument_choose(monkeypatch: pytest.MonkeyPatch, engine: str):
    monkeypatch.setenv(ENGINE_VARIABLE, engine)
    assert choose().name == engine
    assert chosen_by().startswith(f"{ENGINE_VARIABLE} says so")
    monkeypatch.setenv(ENGINE_VARIABLE, "steam")
    assert choose(engine).name == engine


def test_the_best_one_is_the_default(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(ENGINE_VARIABLE, raising=False)
    assert choose().name == ENGINES[-1]
    assert chosen_by().startswith("the default")


def test_a_machine_tells(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(ENGINE_VARIABLE, raising=False)
    with penglai.Machine("64M", state=None, engine="unicorn") as machine:
        assert machine.engine.startswith("unicorn, with")


@pytest.mark.skipif("native" not in ENGINES, reason="there is no native engine here")
def test_a_process_without_addresses_to_spare_gets_unicorn():
    """And is told why; it is an error only for who asked for the other one."""
    done = python(SMALL + RUN)
    assert done.stdout.startswith("unicorn, with"), done.stderr
    assert "256 GiB of addresses" in python(SMALL + WHY).stdout
    refused = python(SMALL + RUN, "native")
    assert refused.returncode
    assert "MachineError: there is no native engine: " in refused.stderr
    assert "take PENGLAI_ENGINE=unicorn" in refused.stderr


@pytest.mark.skipif("native" not in ENGINES, reason="there is no native engine here")
def test_addresses_that_run_out_later_cost_only_speed():
    program = RUN.replace("    assert", "    " + SMALL + "    assert")
    done = python(program, "native")
    assert done.stdout.startswith("native, and unicorn"), done.stderr


@pytest.mark.parametrize("room", [-1, 1 << 63])
def test_a_code_cache_has_a_size(room: int):
    with pytest.raises(BadArgumentError, match="code cache"):
        Native(room)


@pytest.mark.parametrize("engine", ENGINES)
def test_doctor_tells_which_and_why(engine: str):
    done = subprocess.run(
        [PENGLAI, "doctor"],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
        env=os.environ | {ENGINE_VARIABLE: engine},
    )
    said = " ".join(done.stdout.split())
    assert f"on {engine}" in said
    assert f"{ENGINE_VARIABLE} says so" in said
