"""Times in seconds, wherever one is accepted: checked before anything begins, and infinity is for ever."""

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import penglai
from penglai import State
from penglai.guest.linux import LinuxGuest

REFUSED = [math.nan, -math.inf, -1, -1e-9, True, False, "5", "inf", b"5", Decimal(5), [], np.float64("nan")]
FOR_EVER = [None, math.inf, 1e300, 1e12, 1e10, 10**30, 10**400, np.inf]


@pytest.mark.parametrize("timeout", REFUSED, ids=str)
def test_what_is_no_time_is_refused_before_anything_begins(machine: penglai.Machine, timeout: float):
    enclave = machine.create("loop")
    for call in (enclave.run, enclave.wait, lambda timeout: machine.console.wait_for("x", timeout)):
        with pytest.raises(penglai.BadArgumentError, match="a time of"):
            call(timeout)
        assert enclave.state is State.FRESH
    run = enclave.start()
    with pytest.raises(penglai.BadArgumentError, match="a time of"):
        run.result(timeout)
    with pytest.raises(penglai.BadArgumentError, match="a time of"):
        penglai.Linux(timeout=timeout)
    with pytest.raises(penglai.BadArgumentError, match="a time of"):
        LinuxGuest.wait(object.__new__(LinuxGuest), timeout)


@pytest.mark.parametrize("timeout", FOR_EVER, ids=lambda timeout: str(timeout)[:8])
def test_infinity_and_what_is_as_long_is_for_ever(machine: penglai.Machine, timeout: float | None):
    enclave = machine.create("hello-world")
    assert enclave.run(timeout).value == 0
    assert enclave.wait(timeout).value == 0
    machine.console.wait_for("hello", timeout)


@pytest.mark.parametrize(
    "timeout", [0, 0.0, -0.0, 1e-9, Fraction(1, 1000), np.float32(0.001), np.int64(0)], ids=str
)
def test_times_that_pass(machine: penglai.Machine, timeout: float):
    enclave = machine.create("loop")
    calls: list[Callable[[], object]] = [
        lambda: enclave.run(timeout),
        lambda: enclave.wait(timeout),
        lambda: machine.console.wait_for("never", timeout),
    ]
    for call in calls:
        with pytest.raises(penglai.WaitTimeoutError):
            call()
    assert enclave.state in (State.RUNNING, State.RUNNABLE, State.OCALL)
